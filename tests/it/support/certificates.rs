//! Certificates of a test's own, made by the `openssl` program.

use std::fs;
use std::path::Path;
use std::process::Command;

/// A root (`ca.crt`), a server certificate from it (`server.crt`, `server.key`) for `localhost` alone, and a root of
/// somebody else (`other.crt`).
pub(crate) fn make(directory: &Path) {
    let openssl = |arguments: &str| {
        let output = Command::new("openssl")
            .args(arguments.split_whitespace())
            .current_dir(directory)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(&format!(
        "req -x509 {key} -keyout ca.key -out ca.crt -days 30 -subj /CN=ca"
    ));
    openssl(&format!(
        "req -x509 {key} -keyout other.key -out other.crt -days 30 -subj /CN=other"
    ));
    openssl(&format!(
        "req {key} -keyout server.key -out server.csr -subj /CN=localhost"
    ));
    fs::write(directory.join("names"), "subjectAltName=DNS:localhost\n").unwrap();
    openssl(
        "x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 -extfile names -out server.crt",
    );
}
