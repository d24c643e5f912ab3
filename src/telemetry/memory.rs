//! How much memory this process has used at most, by the kernel's own count.

/// The peak of the resident set (`VmHWM`) in bytes; none where the kernel does not tell.
#[must_use]
pub fn peak_resident_bytes() -> Option<u64> {
    parse(&std::fs::read_to_string("/proc/self/status").ok()?)
}

fn parse(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_read_from_the_kernels_words() {
        assert_eq!(
            parse("Name:\tx\nVmPeak:\t  9 kB\nVmHWM:\t    2048 kB\n"),
            Some(2_097_152)
        );
        assert_eq!(parse("Name:\tx\n"), None);
        assert!(peak_resident_bytes().is_some_and(|bytes| bytes > 1024 * 1024));
    }
}
