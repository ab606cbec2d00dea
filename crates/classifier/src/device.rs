//! Where tensors live. The one place that knows which backends this build carries.

use std::fmt;
use std::str::FromStr;

use burn::tensor::Device;
use thiserror::Error;

/// A backend to train or serve on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Backend {
    /// CPU, always there.
    #[default]
    Flex,
    /// CPU, flex's predecessor (cargo feature `ndarray`).
    Ndarray,
    /// GPU through wgpu (cargo feature `wgpu`).
    Wgpu,
}

/// Why a backend cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BackendError {
    /// Not a backend's name.
    #[error("unknown backend {0:?}: expected flex, ndarray or wgpu")]
    Unknown(String),
    /// Left out of this build.
    #[error("this build carries no {0} backend: build with --features {0}")]
    NotBuilt(Backend),
    /// No adapter answers.
    #[error(
        "no GPU adapter was found: install a Vulkan driver (Mesa's lavapipe works without a GPU) or use --backend flex"
    )]
    NoAdapter,
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Flex => "flex",
            Self::Ndarray => "ndarray",
            Self::Wgpu => "wgpu",
        })
    }
}

impl FromStr for Backend {
    type Err = BackendError;

    fn from_str(name: &str) -> Result<Self, BackendError> {
        match name {
            "flex" => Ok(Self::Flex),
            "ndarray" => Ok(Self::Ndarray),
            "wgpu" => Ok(Self::Wgpu),
            _ => Err(BackendError::Unknown(name.to_owned())),
        }
    }
}

impl Backend {
    /// The device of this backend.
    ///
    /// # Errors
    /// When the build lacks it or no adapter answers.
    pub fn device(self) -> Result<Device, BackendError> {
        match self {
            Self::Flex => Ok(Device::flex()),
            Self::Ndarray => ndarray(),
            Self::Wgpu => wgpu(),
        }
    }
}

#[cfg(feature = "ndarray")]
#[expect(clippy::unnecessary_wraps, reason = "the other arm of the feature fails")]
#[expect(deprecated, reason = "upstream's own choice too; flex is ours, this one is held to it")]
fn ndarray() -> Result<Device, BackendError> {
    Ok(Device::ndarray())
}

#[cfg(not(feature = "ndarray"))]
fn ndarray() -> Result<Device, BackendError> {
    Err(BackendError::NotBuilt(Backend::Ndarray))
}

#[cfg(feature = "wgpu")]
fn wgpu() -> Result<Device, BackendError> {
    use burn::tensor::DeviceKind;
    // The portable shaders: burn's SPIR-V (`burn/vulkan`) crashes the compiler of Mesa 22.3's lavapipe.
    // A missing adapter is a panic deep inside wgpu: ask on a thread of its own.
    std::thread::spawn(|| {
        let device = Device::wgpu(DeviceKind::DefaultDevice);
        burn::tensor::Tensor::<1>::zeros([1], &device).into_data();
        device
    })
    .join()
    .map_err(|_| BackendError::NoAdapter)
}

#[cfg(not(feature = "wgpu"))]
fn wgpu() -> Result<Device, BackendError> {
    Err(BackendError::NotBuilt(Backend::Wgpu))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_strangers_are_refused() {
        for backend in [Backend::Flex, Backend::Ndarray, Backend::Wgpu] {
            assert_eq!(backend.to_string().parse(), Ok(backend));
        }
        assert_eq!("cuda".parse::<Backend>(), Err(BackendError::Unknown("cuda".into())));
        assert!(Backend::Flex.device().is_ok());
    }
}
