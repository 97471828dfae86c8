//! The devices that the benches are compiled for.

/// Repeats benches in a module for each of them, where `B` is the backend.
macro_rules! on_every_device {
    ($($bench:item)*) => {
        #[cfg(feature = "flex")]
        mod flex {
            type B = burn::backend::Flex;
            $($bench)*
        }

        #[cfg(feature = "wgpu")]
        mod wgpu {
            type B = burn::backend::Wgpu;
            $($bench)*
        }

        #[cfg(feature = "cuda")]
        mod cuda {
            type B = burn::backend::Cuda;
            $($bench)*
        }
    };
}

pub(crate) use on_every_device;
