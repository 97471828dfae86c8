//! The type of a decoder's numbers.

use crate::decoder::Decoder;
use crate::{Error, Precision};
use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{DType, FloatDType, Tensor, backend::Backend};

impl Precision {
    fn dtype(self) -> DType {
        self.float().into()
    }

    fn float(self) -> FloatDType {
        match self {
            Self::F32 => FloatDType::F32,
            Self::F16 => FloatDType::F16,
            Self::Bf16 => FloatDType::BF16,
        }
    }

    /// The type to answer with on a device: 16 bits where it computes with them, bfloat16 before float16 for its range, and
    /// 32 bits on the processor.
    pub fn for_answers<B: Backend>(device: &B::Device) -> Self {
        if kernels::is_flex::<B>() {
            return Self::F32;
        }
        let has = |precision: &Self| B::supports_dtype(device, precision.dtype());
        [Self::Bf16, Self::F16].into_iter().find(has).unwrap_or(Self::F32)
    }
}

impl<B: Backend> Decoder<B> {
    /// The same weights as numbers of another type; states, scores and the cache are of that type too, while norms and
    /// sums over the vocabulary are computed with 32 bits.
    ///
    /// For answering: training with 16 bits alone loses small updates.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if the device does not compute with such numbers.
    pub fn with_precision(self, precision: Precision) -> Result<Self, Error> {
        let device = self.device();
        if !B::supports_dtype(&device, precision.dtype()) {
            let has = |one: &Precision| B::supports_dtype(&device, one.dtype());
            let supported: Vec<&str> = [Precision::F32, Precision::F16, Precision::Bf16]
                .into_iter()
                .filter(has)
                .map(Precision::name)
                .collect();
            return Err(Error::Unsupported {
                file: format!("{device:?}"),
                key: "dtype".to_owned(),
                found: precision.name().to_owned(),
                supported: supported.join(", "),
            });
        }
        Ok(self.map(&mut Cast(precision.float())))
    }
}

struct Cast(FloatDType);

impl<B: Backend> ModuleMapper<B> for Cast {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        param.map(|tensor| tensor.cast(self.0))
    }
}
