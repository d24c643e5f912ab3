//! Verification: every object of a backup read again and held against its manifest.
