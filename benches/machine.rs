//! What the benches that print tables share: devices, processes and memory.

use crate::program::Outcome;
use serde_json::Value;
use std::ffi::OsString;
use std::process::Command;

/// The devices that this program was built for.
pub(crate) fn devices() -> Vec<&'static str> {
    let mut devices = Vec::new();
    if cfg!(feature = "flex") {
        devices.push("flex");
    }
    if cfg!(feature = "wgpu") {
        devices.push("wgpu");
    }
    if cfg!(feature = "cuda") {
        devices.push("cuda");
    }
    devices
}

/// Runs this program once more, for one workload on one device, and reads what it prints, so that the highest memory is
/// that workload's.
pub(crate) fn in_own_process(
    device: &str,
    workload: &str,
    more: impl IntoIterator<Item = OsString>,
) -> Outcome<Value> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--json", "--device", device, "--only", workload]).args(more);
    let output = command.output()?;
    if !output.status.success() {
        let reason = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{workload} on {device} failed: {reason}").into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Says which names there are, if `wanted` is none of them.
pub(crate) fn known(wanted: Option<&str>, names: &[&str]) -> Outcome<()> {
    match wanted {
        Some(name) if !names.contains(&name) => {
            Err(format!("there is no {name:?}, only {}", names.join(", ")).into())
        }
        _ => Ok(()),
    }
}

/// The most memory of the machine that this process has held.
pub(crate) const PEAK: &str = "VmHWM:";

/// What it holds now.
pub(crate) const RESIDENT: &str = "VmRSS:";

/// Bytes of memory of this process, where the system says so; those of a graphics card are not among them.
pub(crate) fn memory(kind: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(kind))?;
    Some(line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// Bytes in a table.
pub(crate) fn mebibytes(bytes: &Value) -> String {
    bytes.as_u64().map_or("unknown".to_owned(), |bytes| format!("{} MiB", bytes >> 20))
}
