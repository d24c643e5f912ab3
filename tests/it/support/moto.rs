//! A store with versions and Object Lock: moto's S3, which keeps what the everyday server does not. It asks nobody for
//! credentials, so tests of rights belong elsewhere.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

/// A running server with one bucket that has Object Lock; dropped, it ends and everything is gone.
pub(crate) struct Moto {
    child: Child,
    said: BufReader<ChildStdout>,
    port: u16,
}

/// What was answered.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) code: u16,
    /// In lower case.
    pub(crate) head: String,
    pub(crate) body: String,
}

pub(crate) const BUCKET: &str = "locked";

/// Who asks; the signature is not looked at. Without it the bucket would be nobody's.
const SIGNED: &str = "Authorization: AWS4-HMAC-SHA256 Credential=kubebackup-test/20260101/us-east-1/s3/aws4_request, \
                      SignedHeaders=host, Signature=0";

/// Serves at a port that the system chooses, says which, and ends with whoever holds its stdin. A line there is a number of
/// seconds by which its clock goes forward: that of its objects, of its locks, and of the date in its answers.
const PROGRAM: &str = "
import datetime, http.server, sys
import moto.s3.models as models
from moto.server import ThreadedMotoServer
ahead = 0.0
utcnow = models.utcnow
models.utcnow = lambda: utcnow() + datetime.timedelta(seconds=ahead)
date = http.server.BaseHTTPRequestHandler.date_time_string
def now(self, timestamp=None):
    return date(self, timestamp if timestamp is not None else http.server.time.time() + ahead)
http.server.BaseHTTPRequestHandler.date_time_string = now
server = ThreadedMotoServer(ip_address='127.0.0.1', port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
for line in sys.stdin:
    ahead += float(line)
    print('done', flush=True)
";

impl Moto {
    pub(crate) fn start() -> Self {
        let python = concat!(env!("CARGO_MANIFEST_DIR"), "/target/tools/venv/bin/python");
        let mut child = Command::new(python)
            .args(["-c", PROGRAM])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{python}: {error}; 'make tools' puts it there"));
        let mut line = String::new();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        said.read_line(&mut line).unwrap();
        let moto = Self {
            child,
            said,
            port: line.trim().parse().expect("moto says its port"),
        };
        let made = moto.send("PUT", "", &[("x-amz-bucket-object-lock-enabled", "true")], "");
        assert_eq!(made.code, 200, "{made:?}");
        moto
    }

    /// What makes a program use it instead of the store of its settings.
    pub(crate) fn variables(&self) -> [(&'static str, String); 2] {
        [
            ("KUBEBACKUP_REPOSITORY_BUCKET", BUCKET.to_owned()),
            (
                "KUBEBACKUP_REPOSITORY_ENDPOINT",
                format!("http://127.0.0.1:{}", self.port),
            ),
        ]
    }

    /// Lets its clock jump.
    pub(crate) fn go_forward(&mut self, time: Duration) {
        let stdin = self.child.stdin.as_mut().unwrap();
        writeln!(stdin, "{}", time.as_secs()).unwrap();
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        assert_eq!(line, "done\n");
    }

    /// A request for what follows the bucket's name in the path.
    pub(crate) fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answered {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
        let lines: Vec<String> = headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect();
        let headers = lines.concat();
        let head = format!(
            "{method} /{BUCKET}{path} HTTP/1.0\r\nHost: 127.0.0.1:{}\r\n{SIGNED}\r\n{headers}Content-Length: {}\r\n\r\n",
            self.port,
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = answer.split_once("\r\n\r\n").expect("an answer has a head");
        Answered {
            code: head.split(' ').nth(1).unwrap().parse().unwrap(),
            head: head.to_lowercase(),
            body: body.to_owned(),
        }
    }

    /// Keys that a listing shows, below `prefix`.
    pub(crate) fn keys(&self, prefix: &str) -> Vec<String> {
        let listed = self.send("GET", &format!("?list-type=2&prefix={prefix}"), &[], "");
        assert_eq!(listed.code, 200, "{listed:?}");
        between(&listed.body, "<Key>", "</Key>")
    }

    /// Versions of one key, delete markers left out.
    pub(crate) fn versions(&self, key: &str) -> Vec<String> {
        let listed = self.send("GET", &format!("?versions&prefix={key}"), &[], "");
        assert_eq!(listed.code, 200, "{listed:?}");
        let versions = between(&listed.body, "<Version>", "</Version>");
        versions
            .iter()
            .flat_map(|version| between(version, "<VersionId>", "</VersionId>"))
            .collect()
    }

    /// Versions that are nothing but deletions of one key.
    pub(crate) fn delete_markers(&self, key: &str) -> Vec<String> {
        let listed = self.send("GET", &format!("?versions&prefix={key}"), &[], "");
        let markers = between(&listed.body, "<DeleteMarker>", "</DeleteMarker>");
        let ids = markers
            .iter()
            .flat_map(|marker| between(marker, "<VersionId>", "</VersionId>"));
        ids.collect()
    }

    /// Until when an object is locked, and how.
    pub(crate) fn retention(&self, key: &str) -> Option<(String, jiff::Timestamp)> {
        let head = self.send("HEAD", &format!("/{key}"), &[], "").head;
        let header = |name: &str| {
            let mut lines = head.lines();
            lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": ").map(str::to_owned))
        };
        let until = header("x-amz-object-lock-retain-until-date")?;
        Some((header("x-amz-object-lock-mode")?, until.to_uppercase().parse().unwrap()))
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn between(text: &str, open: &str, close: &str) -> Vec<String> {
    let parts = text.split(open).skip(1);
    parts
        .filter_map(|part| part.split_once(close).map(|(inside, _)| inside.to_owned()))
        .collect()
}
