//! What must come out nowhere, and where it is looked for: in all that was printed, stored and logged.

use super::ground::Ground;
use crate::copies::files;
use crate::support::s3::SECRET_KEY;
use crate::support::{BACKUP_PASSWORD, World};

/// Of a role at the source.
pub(super) const APP_PASSWORD: &str = "password-of-the-app-5d1c";

/// Who drills and restores log in as. The throw-away server's own password is two words of any text about it.
pub(super) const TARGET_ROLE: &str = "drills";
pub(super) const TARGET_PASSWORD: &str = "password-of-the-target-77e0";

/// The source's password as a URI quotes it.
const ENCODED: &str = "p%C3%A4ssword%20of%20the%20backup%20role";

const SECRETS: &[&str] = &[
    BACKUP_PASSWORD,
    ENCODED,
    SECRET_KEY,
    APP_PASSWORD,
    TARGET_PASSWORD,
    "SCRAM-SHA-256$",
];

impl Ground {
    /// No secret is in anything that was printed, stored in either place, or logged by either server.
    pub(super) fn assert_no_secret(&self) {
        let mut places = vec![
            ("output".to_owned(), self.printed.clone().into_bytes()),
            ("the source's log".to_owned(), self.world.source.log().into_bytes()),
            ("the target's log".to_owned(), self.world.target.log().into_bytes()),
        ];
        assert!(places.iter().all(|(_, bytes)| !bytes.is_empty()), "nothing to look at");
        let mut look = |key: String, bytes: Vec<u8>| {
            let plain = zstd::decode_all(bytes.as_slice()).unwrap_or_default();
            places.extend([(key.clone(), bytes), (key, plain)]);
        };
        for key in self.world.keys("") {
            let bytes = self.world.s3.read(&World::object(&key));
            look(key, bytes);
        }
        for key in files(&self.second()) {
            let bytes = std::fs::read(self.second().join(&key)).unwrap();
            look(format!("{key} of the copy"), bytes);
        }
        for (place, bytes) in &places {
            assert_no_secret_in(place, bytes);
        }
    }
}

#[track_caller]
pub(super) fn assert_no_secret_in(place: &str, bytes: &[u8]) {
    for secret in SECRETS {
        let found = memchr::memmem::find(bytes, secret.as_bytes());
        assert!(found.is_none(), "{secret} in {place}");
    }
}
