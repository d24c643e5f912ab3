//! How much memory this process uses and has used at most, by the kernel's own count.

/// The peak of the resident set (`VmHWM`) in bytes; none where the kernel does not tell.
#[must_use]
pub fn peak_resident_bytes() -> Option<u64> {
    read("VmHWM:")
}

/// The resident set now (`VmRSS`) in bytes; none where the kernel does not tell.
#[must_use]
pub fn resident_bytes() -> Option<u64> {
    read("VmRSS:")
}

fn read(name: &str) -> Option<u64> {
    parse(&std::fs::read_to_string("/proc/self/status").ok()?, name)
}

fn parse(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_from_the_kernels_words() {
        let words = "Name:\tx\nVmPeak:\t  9 kB\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n";
        assert_eq!(parse(words, "VmHWM:"), Some(2_097_152));
        assert_eq!(parse(words, "VmRSS:"), Some(1_048_576));
        assert_eq!(parse("Name:\tx\n", "VmHWM:"), None);
        for bytes in [resident_bytes(), peak_resident_bytes()] {
            assert!(bytes.is_some_and(|bytes| bytes > 1024 * 1024));
        }
    }
}
