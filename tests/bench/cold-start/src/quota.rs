//! The share of a processor that a function of a memory size has: a control group, version 1 or 2.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The memory with which a function has one processor.
/// <https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html>
const MEMORY_OF_ONE_PROCESSOR: u64 = 1769;

/// In microseconds.
const PERIOD: u64 = 20_000;

/// A control group of processors, until it is dropped.
#[derive(Debug)]
pub(crate) struct Quota {
    folder: PathBuf,
    is_version_2: bool,
}

impl Quota {
    /// Creates a group without a limit.
    pub(crate) fn create() -> io::Result<Self> {
        let name = format!("cold-start-{}", std::process::id());
        let root = Path::new("/sys/fs/cgroup");
        let is_version_2 = root.join("cgroup.controllers").exists();
        let folder = if is_version_2 { root.join(name) } else { root.join("cpu").join(name) };
        fs::create_dir(&folder)?;
        let quota = Self { folder, is_version_2 };
        if is_version_2 {
            // It is on already where a service manager runs.
            let _ = fs::write(root.join("cgroup.subtree_control"), "+cpu");
        }
        quota.lift()?;
        Ok(quota)
    }

    /// The file that a process writes its id to.
    pub(crate) fn processes(&self) -> PathBuf {
        self.folder.join("cgroup.procs")
    }

    /// Limits the group to the share of this memory, in MB.
    pub(crate) fn limit(&self, memory: u64) -> io::Result<()> {
        let quota = PERIOD * memory / MEMORY_OF_ONE_PROCESSOR;
        if self.is_version_2 {
            return fs::write(self.folder.join("cpu.max"), format!("{quota} {PERIOD}"));
        }
        fs::write(self.folder.join("cpu.cfs_period_us"), PERIOD.to_string())?;
        fs::write(self.folder.join("cpu.cfs_quota_us"), quota.to_string())
    }

    /// Ends the limit.
    pub(crate) fn lift(&self) -> io::Result<()> {
        if self.is_version_2 {
            fs::write(self.folder.join("cpu.max"), "max")
        } else {
            fs::write(self.folder.join("cpu.cfs_quota_us"), "-1")
        }
    }
}

impl Drop for Quota {
    fn drop(&mut self) {
        // The processes in it have ended.
        let _ = fs::remove_dir(&self.folder);
    }
}
