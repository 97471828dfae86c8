//! Rows of equal length, as primitives take them.

use super::Heads;
use crate::masked_softmax::Visibility;
use burn::tensor::{Tensor, backend::Backend};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Rows of `time` tokens each, one behind the other; those that are shorter are filled up behind their tokens.
#[derive(Debug)]
pub(super) struct Padded<B: Backend> {
    rows: usize,
    time: usize,
    /// Layers that see as far share a mask.
    visible: Mutex<HashMap<Sight, Arc<Visibility<B>>>>,
}

/// How far a token sees, beside its place in its row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Sight {
    /// Tokens of the past.
    pub(super) behind: usize,
    pub(super) window: Option<usize>,
}

impl<B: Backend> Padded<B> {
    pub(super) fn new(rows: usize, time: usize) -> Self {
        Self { rows, time, visible: Mutex::default() }
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    pub(super) fn time(&self) -> usize {
        self.time
    }

    pub(super) fn visible(&self, sight: Sight) -> Arc<Visibility<B>> {
        // What another thread left half done could only lack one.
        let mut made = self.visible.lock().unwrap_or_else(PoisonError::into_inner);
        let make = || Arc::new(Visibility::new(vec![sight.behind], self.time, sight.window));
        made.entry(sight).or_insert_with(make).clone()
    }

    /// `[rows * time, heads * head_dim]` to `[rows, key_value_heads, group, time, head_dim]`.
    ///
    /// The heads that share keys form a dimension of their own, so that keys need not be repeated; for a single token
    /// they are the rows of one product instead.
    pub(super) fn split(&self, query: Tensor<B, 2>, heads: Heads) -> Tensor<B, 5> {
        let Self { rows, time, .. } = *self;
        let Heads { key_value_heads, group, head_dim } = heads;
        if time == 1 {
            return query.reshape([rows, key_value_heads, 1, group, head_dim]);
        }
        query.reshape([rows, time, key_value_heads, group, head_dim]).permute([0, 2, 3, 1, 4])
    }

    /// The inverse of [`Padded::split`].
    pub(super) fn merge(&self, attended: Tensor<B, 5>, heads: Heads) -> Tensor<B, 2> {
        let by_token = if self.time == 1 { attended } else { attended.permute([0, 3, 1, 2, 4]) };
        by_token.reshape([self.rows * self.time, heads.queries() * heads.head_dim])
    }
}
