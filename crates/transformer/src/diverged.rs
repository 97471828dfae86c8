//! The look at what training has left.

use crate::parameters::Path;
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Tensor, backend::Backend};
use training::Error;

/// The largest absolute value of a weight. Those of models stay far below; a model of larger ones overflows, or its norms make 0
/// of all that it computes, which shows in no loss.
const LARGEST: f32 = 1e6;

/// Sees that training has left sound weights: what the last update has done shows in no step after it.
///
/// # Errors
/// [`Error::Diverged`] names the first parameter that learns and has a number that is not finite or beyond a million, with
/// `stage` and `step`.
pub fn check_parameters<M: Module<B>, B: Backend>(
    stage: &str,
    step: u64,
    module: &M,
) -> Result<(), Error> {
    let mut visitor = Unsound { path: Path::default(), found: None };
    module.visit(&mut visitor);
    match visitor.found {
        Some((name, value)) => Err(Error::Diverged { stage: stage.to_owned(), step, name, value }),
        None => Ok(()),
    }
}

/// The first number that no weight should be, and where it is.
struct Unsound {
    path: Path,
    found: Option<(String, f64)>,
}

impl<B: Backend> ModuleVisitor<B> for Unsound {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        if self.found.is_some() || !param.is_require_grad() {
            return;
        }
        let data = param.val().into_data();
        let unsound = |number: &f32| number.is_nan() || number.abs() > LARGEST;
        if let Some(number) = data.iter::<f32>().find(unsound) {
            self.found = Some((format!("a weight of `{}`", self.path.joined()), number.into()));
        }
    }

    fn enter_module(&mut self, name: &str, _kind: &str) {
        self.path.enter(name);
    }

    fn exit_module(&mut self, _name: &str, _kind: &str) {
        self.path.exit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::backend::Autodiff;
    use burn_flex::{Flex, FlexDevice};

    #[derive(Module, Debug)]
    struct Pair<B: Backend> {
        matrix: Param<Tensor<B, 2>>,
        vector: Param<Tensor<B, 1>>,
    }

    fn pair(matrix: f32, vector: f32) -> Pair<Autodiff<Flex>> {
        Pair {
            matrix: Param::from_tensor(Tensor::from_floats([[1.0, matrix]], &FlexDevice)),
            vector: Param::from_tensor(Tensor::from_floats([vector], &FlexDevice)),
        }
    }

    #[test]
    fn names_the_weight_that_has_diverged() {
        check_parameters("sft", 3, &pair(-5.0, 1e5)).unwrap();
        for (matrix, vector, expected) in [
            (f32::NAN, 1.0, "a weight of `matrix` is NaN at step 3 of sft"),
            (f32::INFINITY, f32::NAN, "a weight of `matrix` is inf at step 3 of sft"),
            (1.0, -1e30, "a weight of `vector` is -1.00e30 at step 3 of sft"),
        ] {
            let error = check_parameters("sft", 3, &pair(matrix, vector)).unwrap_err();
            assert!(error.to_string().starts_with(expected), "{error}");
        }
        // What does not learn is as it came.
        check_parameters("sft", 3, &pair(1.0, f32::NAN).no_grad()).unwrap();
    }
}
