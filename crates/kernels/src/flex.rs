//! Tensors as flex holds them.

use burn::tensor::{DType, Tensor, TensorData, TensorPrimitive, backend::Backend};
use burn_flex::{Flex, FlexDevice, FlexTensor};
use rayon::prelude::*;
use std::any::{Any, TypeId};

/// Numbers that one thread works on at a time; less is not worth a second thread.
const CHUNK: usize = 1 << 14;

/// True if `B` is flex itself, without automatic differentiation around it.
pub fn is_flex<B: Backend>() -> bool {
    TypeId::of::<B>() == TypeId::of::<Flex>()
}

/// True if flex computes, with automatic differentiation around it or without.
pub(crate) fn on_flex<B: Backend>() -> bool {
    TypeId::of::<B::Device>() == TypeId::of::<FlexDevice>()
}

/// The tensor as flex holds it, laid out in order from the start of its storage; or the tensor itself, if another
/// backend holds it or its numbers are not of 32 bits.
pub(crate) fn in_order<B: Backend, const D: usize>(
    tensor: Tensor<B, D>,
) -> Result<FlexTensor, Tensor<B, D>> {
    held(tensor).map(ordered)
}

/// As [`in_order`], laid out as it is.
pub(crate) fn held<B: Backend, const D: usize>(
    tensor: Tensor<B, D>,
) -> Result<FlexTensor, Tensor<B, D>> {
    if !is_flex::<B>() || tensor.dtype() != DType::F32 {
        return Err(tensor);
    }
    match cast(tensor.into_primitive().tensor()) {
        Some(flex) => Ok(flex),
        None => unreachable!("flex holds its tensors as flex tensors"),
    }
}

/// The same numbers in order from the start of their storage.
pub(crate) fn ordered(flex: FlexTensor) -> FlexTensor {
    // The handle itself, not a copy of it: storage with two owners is copied when written to.
    if flex.is_contiguous() && is_whole(&flex) { flex } else { flex.to_contiguous() }
}

/// What has two names for the type checker and is one type.
pub(crate) fn cast<T: 'static, U: 'static>(value: T) -> Option<U> {
    let mut value = Some(value);
    (&mut value as &mut dyn Any).downcast_mut::<Option<U>>().and_then(Option::take)
}

fn is_whole(tensor: &FlexTensor) -> bool {
    let layout = tensor.layout();
    layout.start_offset() == 0 && tensor.bytes().len() == layout.num_elements() * size_of::<f32>()
}

/// Numbers as a tensor, not copied: what burn makes empty it fills with zeros, and copies once.
pub(crate) fn from_numbers<const D: usize>(numbers: Vec<f32>, shape: [usize; D]) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(numbers, shape))
}

/// A copy of a tensor that lies in order, made by all cores.
pub(crate) fn copied(tensor: &FlexTensor) -> FlexTensor {
    let numbers: &[f32] = tensor.storage();
    let numbers: Vec<f32> = numbers.par_iter().with_min_len(CHUNK).copied().collect();
    FlexTensor::from_data(TensorData::new(numbers, tensor.layout().shape().clone()))
}

/// The inverse of [`in_order`].
///
/// # Panics
/// If `B` is not flex.
pub(crate) fn to_tensor<B: Backend, const D: usize>(flex: FlexTensor) -> Tensor<B, D> {
    match cast(flex) {
        Some(primitive) => Tensor::from_primitive(TensorPrimitive::Float(primitive)),
        None => unreachable!("only what flex held becomes a tensor of flex again"),
    }
}

/// Does `work` with the widest vector instructions of the processor.
///
/// What `work` calls must be inlined into it, or it is compiled for the oldest processor all the same.
#[inline(always)]
pub(crate) fn vectorised<R>(work: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(work)
}

/// Calls `work` for every row of `width` numbers of `data`, with its index; on all cores if there is enough to do.
pub(crate) fn for_each_row(
    data: &mut [f32],
    width: usize,
    work: impl Fn(usize, &mut [f32]) + Sync,
) {
    if width == 0 {
        return;
    }
    let rows = (CHUNK / width).max(1);
    if data.len() <= rows * width {
        return vectorised(
            #[inline(always)]
            || {
                for (index, row) in data.chunks_exact_mut(width).enumerate() {
                    work(index, row);
                }
            },
        );
    }
    data.par_chunks_mut(rows * width).enumerate().for_each(|(chunk, data)| {
        vectorised(
            #[inline(always)]
            || {
                for (index, row) in data.chunks_exact_mut(width).enumerate() {
                    work(chunk * rows + index, row);
                }
            },
        );
    });
}

/// Calls `work` for pieces of slices of equal length that lie at the same place; on all cores if there is enough to do.
///
/// # Panics
/// If the slices differ in length.
pub(crate) fn for_each_chunk<const N: usize>(
    written: [&mut [f32]; N],
    read: &[f32],
    work: impl Fn([&mut [f32]; N], &[f32]) + Sync,
) {
    assert!(written.iter().all(|slice| slice.len() == read.len()), "slices of one length");
    if read.len() <= CHUNK {
        return vectorised(
            #[inline(always)]
            || work(written, read),
        );
    }
    let mut pieces: Vec<_> = written.map(|slice| slice.chunks_mut(CHUNK)).into();
    let jobs: Vec<([&mut [f32]; N], &[f32])> = read
        .chunks(CHUNK)
        .map(|read| {
            let next = |index: usize| pieces[index].next().unwrap_or_default();
            (std::array::from_fn(next), read)
        })
        .collect();
    jobs.into_par_iter().for_each(|(written, read)| {
        vectorised(
            #[inline(always)]
            || work(written, read),
        );
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "slices of one length")]
    fn a_shorter_slice_is_a_mistake() {
        let mut written = [0.0; 3];
        for_each_chunk([&mut written[..]], &[0.0; 2], |_, _| ());
    }
}
