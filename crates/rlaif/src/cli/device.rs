//! Where to compute.

use super::Failure;
use burn::backend::Autodiff;
use burn::tensor::Tensor;
use burn::tensor::backend::{AutodiffBackend, Backend};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::str::FromStr;

#[cfg(not(any(feature = "flex", feature = "wgpu", feature = "cuda")))]
compile_error!("build with at least one of the features `flex` (CPU), `wgpu` and `cuda`");

/// A kind of device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
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

impl Kind {
    /// Those that the program was built for; the first is the default.
    const ALL: &[Self] = &[
        #[cfg(feature = "flex")]
        Self::Flex,
        #[cfg(feature = "wgpu")]
        Self::Wgpu,
        #[cfg(feature = "cuda")]
        Self::Cuda,
    ];

    fn name(self) -> &'static str {
        match self {
            #[cfg(feature = "flex")]
            Self::Flex => "flex",
            #[cfg(feature = "wgpu")]
            Self::Wgpu => "wgpu",
            #[cfg(feature = "cuda")]
            Self::Cuda => "cuda",
        }
    }

    /// How it is written on the command line.
    fn written(self) -> &'static str {
        match self {
            #[cfg(feature = "flex")]
            Self::Flex => "flex",
            #[cfg(feature = "wgpu")]
            Self::Wgpu => "wgpu[:I]",
            #[cfg(feature = "cuda")]
            Self::Cuda => "cuda[:I]",
        }
    }

    fn can_have_several(self) -> bool {
        match self {
            #[cfg(feature = "flex")]
            Self::Flex => false,
            #[cfg(feature = "wgpu")]
            Self::Wgpu => true,
            #[cfg(feature = "cuda")]
            Self::Cuda => true,
        }
    }
}

/// A device that the program was built for: `flex`, `wgpu`, `wgpu:1`, `cuda`, `cuda:1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Device {
    kind: Kind,
    index: Option<usize>,
}

impl Default for Device {
    fn default() -> Self {
        Self { kind: Kind::ALL[0], index: None }
    }
}

impl std::fmt::Display for Device {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.index {
            Some(index) => write!(formatter, "{}:{index}", self.kind.name()),
            None => formatter.write_str(self.kind.name()),
        }
    }
}

impl FromStr for Device {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, index) = match text.split_once(':') {
            Some((name, index)) => (name, Some(index)),
            None => (text, None),
        };
        let built_for: Vec<&str> = Kind::ALL.iter().map(|kind| kind.written()).collect();
        let kind = Kind::ALL.iter().copied().find(|kind| kind.name() == name);
        let kind = kind.ok_or_else(|| {
            format!("this program was built for {}, not for {name:?}", built_for.join(", "))
        })?;
        let Some(index) = index else { return Ok(Self { kind, index: None }) };
        if !kind.can_have_several() {
            return Err(format!("there is one {name} device alone, without a number"));
        }
        let index = index.parse().map_err(|_| {
            format!("{index:?} is not the number of a device; the first one is {name}:0")
        })?;
        Ok(Self { kind, index: Some(index) })
    }
}

/// Work that runs on any backend.
pub(super) trait Task {
    /// Does the work on a device of the backend.
    fn run<B: AutodiffBackend>(self, device: &B::Device) -> Result<(), Failure>;
}

impl Device {
    /// The name in settings: results depend on the kind of device, not on which one of its kind it is.
    pub(super) fn name(self) -> &'static str {
        self.kind.name()
    }

    /// Does the work here.
    pub(super) fn run(self, task: impl Task) -> Result<(), Failure> {
        match self.kind {
            #[cfg(feature = "flex")]
            Kind::Flex => task.run::<Autodiff<burn::backend::Flex>>(&burn_flex::FlexDevice),
            #[cfg(feature = "wgpu")]
            Kind::Wgpu => self.on::<burn::backend::Wgpu>(task, &self.wgpu_devices()),
            #[cfg(feature = "cuda")]
            Kind::Cuda => {
                let index = self.index.unwrap_or(0);
                let device = burn::backend::cuda::CudaDevice { index };
                self.on::<burn::backend::Cuda>(task, &[device])
            }
        }
    }

    /// What the number may mean: cards are counted within their kind, and the fastest kind that has so many is taken:
    /// discrete, integrated, virtual, software. Without a number wgpu chooses, or what `CUBECL_WGPU_DEFAULT_DEVICE` names
    /// (`IntegratedGpu(0)`).
    #[cfg(feature = "wgpu")]
    fn wgpu_devices(self) -> Vec<burn::backend::wgpu::WgpuDevice> {
        use burn::backend::wgpu::WgpuDevice;
        let Some(index) = self.index else { return vec![WgpuDevice::DefaultDevice] };
        let mut devices = vec![
            WgpuDevice::DiscreteGpu(index),
            WgpuDevice::IntegratedGpu(index),
            WgpuDevice::VirtualGpu(index),
        ];
        if index == 0 {
            devices.push(WgpuDevice::Cpu);
        }
        devices
    }

    /// Does the work on the first of these devices that can be opened.
    #[allow(dead_code, reason = "a program for the processor alone has nothing to open")]
    fn on<B: Backend>(self, task: impl Task, devices: &[B::Device]) -> Result<(), Failure> {
        let mut reasons = Vec::new();
        for device in devices {
            match open::<B>(device) {
                Ok(()) => return task.run::<Autodiff<B>>(device),
                Err(reason) => reasons.push(reason),
            }
        }
        reasons.dedup();
        let reason = reasons.join("; ");
        Err(format!(
            "the device {self} cannot be opened: {reason}; see that the card and its driver are there, or choose another \
             with --device"
        )
        .into())
    }
}

/// Puts a number on the device and takes it back: drivers that lack a card panic.
#[allow(dead_code, reason = "a program for the processor alone has nothing to open")]
fn open<B: Backend>(device: &B::Device) -> Result<(), String> {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let touched = catch_unwind(AssertUnwindSafe(|| {
        let number = Tensor::<B, 1>::ones([1], device) + 1.0;
        number.into_data().iter::<f32>().next()
    }));
    std::panic::set_hook(hook);
    match touched {
        Ok(Some(number)) if (number - 2.0).abs() < 0.1 => Ok(()),
        Ok(number) => Err(format!("it says that 1 + 1 is {number:?}")),
        Err(panic) => Err(match (panic.downcast_ref::<String>(), panic.downcast_ref::<&str>()) {
            (Some(message), _) => first_line(message),
            (_, Some(message)) => first_line(message),
            _ => "its driver gives no reason".to_owned(),
        }),
    }
}

#[allow(dead_code, reason = "a program for the processor alone has nothing to open")]
fn first_line(message: &str) -> String {
    message.lines().next().unwrap_or_default().chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_read_as_they_are_written() {
        for kind in Kind::ALL {
            let name = kind.name();
            assert_eq!(name.parse(), Ok(Device { kind: *kind, index: None }));
            let numbered = format!("{name}:3");
            match numbered.parse::<Device>() {
                Ok(device) => {
                    assert_eq!(device, Device { kind: *kind, index: Some(3) });
                    assert_eq!(device.to_string(), numbered);
                    assert_eq!(device.name(), name);
                }
                Err(reason) => assert!(!kind.can_have_several(), "{reason}"),
            }
            assert!(format!("{name}:x").parse::<Device>().is_err());
        }
        let error = "abacus".parse::<Device>().unwrap_err();
        assert!(error.contains("abacus") && error.contains(Kind::ALL[0].name()), "{error}");
        assert_eq!(Device::default().kind, Kind::ALL[0]);
    }
}
