//! The rows that attention stays within.

use super::side_by_side::SideBySide;
use burn::tensor::backend::Backend;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

/// A row of tokens, and rows that go on where it ends, each for itself: what they all begin with stands there once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    /// The tokens that every branch follows.
    pub stem: Range<usize>,
    /// The tokens of every branch, in ascending order behind the stem.
    pub branches: Vec<Range<usize>>,
}

impl From<Range<usize>> for Tree {
    /// A row that nothing follows.
    fn from(stem: Range<usize>) -> Self {
        Self { stem, branches: Vec::new() }
    }
}

impl Tree {
    /// From its first token to its last.
    pub(super) fn span(&self) -> Range<usize> {
        self.stem.start..self.branches.last().unwrap_or(&self.stem).end
    }

    /// The stem, then every branch.
    pub(super) fn parts(&self) -> impl Iterator<Item = &Range<usize>> {
        std::iter::once(&self.stem).chain(&self.branches)
    }
}

/// The rows of a pass through a model, made once for all of its layers: they share what primitives need of the rows, which the
/// first layer makes. On flex that is nothing.
#[derive(Debug, Clone)]
pub struct Rows<B: Backend> {
    trees: Arc<[Tree]>,
    side_by_side: Arc<OnceLock<SideBySide<B>>>,
}

impl<B: Backend> Rows<B> {
    /// The tokens of each row, in ascending order; those between them are padding.
    pub fn new(trees: Vec<Tree>) -> Self {
        Self { trees: trees.into(), side_by_side: Arc::default() }
    }

    /// The same rows on another backend.
    pub(super) fn elsewhere<C: Backend>(&self) -> Rows<C> {
        Rows { trees: self.trees.clone(), side_by_side: Arc::default() }
    }

    pub(super) fn trees(&self) -> &Arc<[Tree]> {
        &self.trees
    }

    /// Of `tokens` tokens, padding included.
    pub(super) fn side_by_side(&self, tokens: usize, device: &B::Device) -> &SideBySide<B> {
        let made = self.side_by_side.get_or_init(|| SideBySide::new(&self.trees, tokens, device));
        assert_eq!(made.tokens(), tokens, "all layers have the same tokens");
        made
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causal_attention::{Heads, causal_attention};
    use crate::tracked::tests::wave;
    use burn::tensor::DType;
    use burn_flex::{Flex, FlexDevice};

    const HEADS: Heads = Heads { key_value_heads: 1, group: 1, head_dim: 2 };

    /// Of so many tokens of which the first two and the next three are rows, with numbers of this type.
    fn attend(rows: &Rows<Flex>, tokens: usize, dtype: DType) {
        let operand = || wave::<Flex, 2>([tokens, 2], 0.37, 1.0).cast(dtype);
        causal_attention([operand(), operand(), operand()], &[], HEADS, rows, None);
    }

    fn rows() -> Rows<Flex> {
        Rows::new(vec![Tree::from(0..2), Tree::from(2..5)])
    }

    #[test]
    fn layers_share_what_primitives_need_and_flex_needs_nothing() {
        let rows = rows();
        attend(&rows, 5, DType::F32);
        assert!(rows.side_by_side.get().is_none());
        // Numbers of 64 bits are left to primitives.
        attend(&rows, 5, DType::F64);
        let made = std::ptr::from_ref(rows.side_by_side(5, &FlexDevice));
        attend(&rows, 5, DType::F64);
        assert!(std::ptr::eq(made, rows.side_by_side(5, &FlexDevice)));
    }

    #[test]
    #[should_panic(expected = "all layers have the same tokens")]
    fn a_layer_has_the_tokens_of_the_first() {
        let rows = rows();
        attend(&rows, 5, DType::F64);
        attend(&rows, 6, DType::F64);
    }
}
