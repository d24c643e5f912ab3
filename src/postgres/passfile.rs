//! Passwords from files: libpq's passfile (`host:port:database:user:password` lines) and a file that holds one alone.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::connect::ConnectOptions;
use super::error::{Error, Result};

/// The only contents of `path`, without the newline that editors add.
///
/// # Errors
/// `Error::Settings` when the file cannot be read or holds nothing.
pub(super) fn read_password_file(path: &Path) -> Result<String> {
    let failed = |why: String| Error::Settings(format!("password_file {}: {why}", path.display()));
    let text = fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
    let password = text.trim_end_matches(['\r', '\n']);
    if password.is_empty() {
        return Err(failed("is empty".to_owned()));
    }
    Ok(password.to_owned())
}

/// The password of the first line of the passfile that fits; none when there is no file or no such line.
///
/// # Errors
/// `Error::Settings` when others may read the file. libpq only warns and then goes on without it, which shows as a
/// refused login far from its cause.
pub(super) fn look_up(path: &Path, options: &ConnectOptions) -> Result<Option<String>> {
    let Ok(metadata) = fs::metadata(path) else {
        return Ok(None);
    };
    if !metadata.is_file() {
        return Ok(None);
    }
    if metadata.permissions().mode() & 0o077 != 0 {
        return Err(Error::Settings(format!(
            "passfile {} may be read by others; run chmod 0600 on it",
            path.display()
        )));
    }
    let text =
        fs::read_to_string(path).map_err(|error| Error::Settings(format!("passfile {}: {error}", path.display())))?;
    let port = options.port.to_string();
    let wanted = [host_name(options), &port, &options.database, &options.user];
    Ok(text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .find_map(|line| password_of(line, &wanted)))
}

/// A passfile names the default socket directories `localhost`.
fn host_name(options: &ConnectOptions) -> &str {
    match options.host.as_str() {
        "/var/run/postgresql" | "/tmp" => "localhost",
        host => host,
    }
}

fn password_of(line: &str, wanted: &[&str; 4]) -> Option<String> {
    let fields = split_fields(line);
    let (password, names) = fields.split_last()?;
    let fits = |(name, wanted): (&String, &&str)| name == "*" || name == wanted;
    (names.len() == wanted.len() && names.iter().zip(wanted).all(fits)).then(|| password.clone())
}

/// At most five fields separated by `:`; a backslash takes the next character as it is.
fn split_fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        let is_last = fields.len() == 5;
        let field = fields.last_mut().expect("there is always a field");
        match character {
            ':' if !is_last => fields.push(String::new()),
            '\\' => field.extend(characters.next()),
            _ => field.push(character),
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::time::Duration;

    use super::super::connect::Password;
    use super::super::tls::TlsMode;
    use super::*;

    fn options(host: &str, database: &str) -> ConnectOptions {
        ConnectOptions {
            host: host.to_owned(),
            port: 5432,
            user: "me".to_owned(),
            database: database.to_owned(),
            password: Password::None,
            tls: TlsMode::Disable,
            connect_timeout: Duration::from_secs(1),
        }
    }

    /// `NamedTempFile` makes its file with mode 0600.
    fn passfile(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    #[test]
    fn the_first_line_that_fits_gives_the_password() {
        let file =
            passfile("# a:comment\nother:5432:*:me:no\ndb:*:sh\\:op:me:a\\:b:c\ndb:*:*:me:late\nlocalhost:*:*:*:l\n");
        let look_up = |host, database| look_up(file.path(), &options(host, database)).unwrap();
        assert_eq!(look_up("db", "sh:op").as_deref(), Some("a:b:c"));
        assert_eq!(look_up("db", "else").as_deref(), Some("late"));
        assert_eq!(look_up("/var/run/postgresql", "x").as_deref(), Some("l"));
        assert_eq!(look_up("nowhere", "x"), None);
    }

    #[test]
    fn a_file_that_others_may_read_is_refused_with_the_mend() {
        let file = passfile("*:*:*:*:p\n");
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o640)).unwrap();
        let refused = look_up(file.path(), &options("db", "d")).unwrap_err().to_string();
        assert!(refused.contains("chmod 0600"), "{refused}");
    }

    #[test]
    fn no_file_is_no_password() {
        assert_eq!(look_up(Path::new("/nonexistent"), &options("db", "d")).unwrap(), None);
    }
}
