//! Where to compute.

use super::Failure;
use burn::backend::Autodiff;
use burn::tensor::backend::{AutodiffBackend, Backend};
use clap::ValueEnum;

#[cfg(not(any(feature = "flex", feature = "wgpu", feature = "cuda")))]
compile_error!("build with at least one of the features `flex` (CPU), `wgpu` and `cuda`");

/// A device that the program was built for; the first is the default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Device {
    /// The processor.
    #[cfg(feature = "flex")]
    Flex,
    /// A graphics card through Vulkan, Metal or DirectX.
    #[cfg(feature = "wgpu")]
    Wgpu,
    /// An NVIDIA card.
    #[cfg(feature = "cuda")]
    Cuda,
}

impl Default for Device {
    fn default() -> Self {
        Self::value_variants()[0]
    }
}

/// Work that runs on any backend.
pub(super) trait Task {
    /// Does the work on a device of the backend.
    fn run<B: AutodiffBackend>(self, device: &B::Device) -> Result<(), Failure>;
}

impl Device {
    /// The name in settings.
    pub(super) fn name(self) -> &'static str {
        match self {
            #[cfg(feature = "flex")]
            Self::Flex => "flex",
            #[cfg(feature = "wgpu")]
            Self::Wgpu => "wgpu",
            #[cfg(feature = "cuda")]
            Self::Cuda => "cuda",
        }
    }

    /// Does the work here.
    pub(super) fn run(self, task: impl Task) -> Result<(), Failure> {
        match self {
            #[cfg(feature = "flex")]
            Self::Flex => on::<burn::backend::Flex>(task),
            #[cfg(feature = "wgpu")]
            Self::Wgpu => on::<burn::backend::Wgpu>(task),
            #[cfg(feature = "cuda")]
            Self::Cuda => on::<burn::backend::Cuda>(task),
        }
    }
}

/// Does the work on the default device of a backend.
fn on<B: Backend>(task: impl Task) -> Result<(), Failure> {
    task.run::<Autodiff<B>>(&B::Device::default())
}
