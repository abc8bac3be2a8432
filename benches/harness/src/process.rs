//! What a proxy costs: CPU time and memory of a process with all its descendants.

use std::fs;

use anyhow::{Context, Result, bail};

/// A process and everything below it, found afresh at each question.
#[derive(Clone, Copy, Debug)]
pub struct ProcessTree(pub u32);

impl ProcessTree {
    fn members(self) -> Result<Vec<u32>> {
        let mut members = vec![self.0];
        let mut next = 0;
        while next < members.len() {
            for task in tasks(members[next])? {
                let path = format!("/proc/{}/task/{task}/children", members[next]);
                let children = fs::read_to_string(&path).with_context(|| path.clone())?;
                for child in children.split_ascii_whitespace() {
                    members.push(child.parse().with_context(|| path.clone())?);
                }
            }
            next += 1;
        }
        Ok(members)
    }

    /// Nanoseconds on a CPU, of all threads. `/proc/PID/task/TID/schedstat` counts in
    /// nanoseconds where `stat` counts in ticks of 10 ms (proc(5), sched-stats.rst). Time of
    /// threads that have ended is not in it: the proxies measured here keep theirs.
    ///
    /// # Errors
    /// The process has ended.
    pub fn cpu(self) -> Result<u64> {
        let mut sum = 0;
        for process in self.members()? {
            for task in tasks(process)? {
                let path = format!("/proc/{process}/task/{task}/schedstat");
                let text = fs::read_to_string(&path).with_context(|| path.clone())?;
                let on_cpu = text
                    .split_ascii_whitespace()
                    .next()
                    .context("an empty schedstat")?;
                sum += on_cpu.parse::<u64>().with_context(|| path.clone())?;
            }
        }
        Ok(sum)
    }

    /// Bytes of anonymous and shared memory in user space, shared pages counted by share
    /// (`Pss_Anon` and `Pss_Shmem` of smaps_rollup, Linux 5.9). Program text is not in it, and
    /// neither is memory of the kernel.
    ///
    /// # Errors
    /// The process has ended or may not be looked into.
    pub fn memory(self) -> Result<u64> {
        let mut sum = 0;
        for process in self.members()? {
            let path = format!("/proc/{process}/smaps_rollup");
            let text = fs::read_to_string(&path).with_context(|| path.clone())?;
            let mut found = 0;
            for line in text.lines() {
                let mut words = line.split_ascii_whitespace();
                if let (Some("Pss_Anon:" | "Pss_Shmem:"), Some(kib)) = (words.next(), words.next())
                {
                    sum += kib.parse::<u64>().with_context(|| path.clone())? * 1024;
                    found += 1;
                }
            }
            if found != 2 {
                bail!("{path} names no Pss_Anon and Pss_Shmem");
            }
        }
        Ok(sum)
    }
}

fn tasks(process: u32) -> Result<Vec<u32>> {
    let path = format!("/proc/{process}/task");
    let entries = fs::read_dir(&path).with_context(|| format!("{path}: the proxy has ended"))?;
    entries
        .map(|entry| {
            let name = entry?.file_name();
            name.to_string_lossy().parse().with_context(|| path.clone())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_and_memory_of_this_process_are_seen() {
        let this = ProcessTree(std::process::id());
        let (cpu, memory) = (this.cpu().expect("alive"), this.memory().expect("alive"));
        let block = vec![1_u8; 8 << 20];
        let started = std::time::Instant::now();
        let mut sum = 0_u64;
        while started.elapsed().as_millis() < 30 {
            sum += block.iter().map(|byte| u64::from(*byte)).sum::<u64>();
        }
        assert!(sum > 0);
        assert!(this.memory().expect("alive") > memory + (7 << 20));
        assert!(this.cpu().expect("alive") > cpu + 5_000_000);
        drop(block);
    }

    #[test]
    fn a_process_that_is_gone_is_an_error() {
        assert!(ProcessTree(u32::MAX - 1).cpu().is_err());
        assert!(ProcessTree(u32::MAX - 1).memory().is_err());
    }
}
