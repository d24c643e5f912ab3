//! The PostgreSQL containers of the manifests, run as a node would: their user, group and volumes, a root that is read only and
//! holds busybox's programs alone as the alpine image does, no capability, and the container's command as process 1.
//!
//! PostgreSQL is this machine's, so what musl does is not shown. It takes root, to mount and to change users: for anybody else
//! there is nothing to run, and these tests end at once.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use kubebackup::demo::{Ground, find_bin_directory};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid as ProcessId, geteuid};
use serde_json::Value;

use super::objects::{Object, Pod, data, list, pods, text};
use super::render::overlays;
use crate::support::wait;

/// Makes the root and becomes the container. Arguments: root, programs of PostgreSQL, user, group, further group, and the command.
/// Standard input: one volume a line, as `source path mode`.
const ENTER: &str = r#"
set -eu
root=$1 programs=$2 user=$3 group=$4 more=$5
shift 5
mount -t tmpfs tmpfs "$root"
for directory in usr lib lib64 opt; do
    if [ -L "/$directory" ]; then
        ln -s "$(readlink "/$directory")" "$root/$directory"
    elif [ -d "/$directory" ]; then
        mkdir "$root/$directory"
        mount --bind "/$directory" "$root/$directory"
        mount -o remount,bind,ro "$root/$directory"
    fi
done
mkdir "$root/bin" "$root/etc" "$root/proc" "$root/dev"
mount -t proc proc "$root/proc"
mount --bind /dev "$root/dev"
cp "$(command -v busybox)" "$root/bin/busybox"
chroot "$root" /bin/busybox --install -s /bin
echo "postgres:x:$user:$group::/:/bin/sh" > "$root/etc/passwd"
echo "127.0.0.1 localhost" > "$root/etc/hosts"
while read -r source path mode; do
    mkdir -p "$root$path"
    mount --bind "$source" "$root$path"
    [ "$mode" != ro ] || mount -o remount,bind,ro "$root$path"
done
mount -o remount,ro "$root"
chroot=$(command -v chroot)
export PATH=$programs:/bin
exec "$chroot" "$root" /usr/bin/setpriv --reuid "$user" --regid "$group" --groups "$more" \
    --no-new-privs --inh-caps=-all --bounding-set=-all -- "$@" < /dev/null
"#;

/// A container of a rendered pod, with its volumes as directories of this machine.
struct Container<'a> {
    ground: Ground,
    pod: Pod<'a>,
    spec: &'a Value,
    objects: &'a [Object],
    running: Option<Child>,
}

impl<'a> Container<'a> {
    /// `postgres` of the pod in `namespace`.
    fn postgres(objects: &'a [Object], namespace: &str) -> Self {
        let pod = pods(objects)
            .into_iter()
            .find(|pod| pod.namespace() == namespace)
            .unwrap();
        let container = pod.container("postgres").unwrap();
        let ground = Ground::new().unwrap();
        fs::create_dir(ground.path().join("root")).unwrap();
        let made = Self {
            ground,
            pod,
            spec: container,
            objects,
            running: None,
        };
        for mount in list(&container["volumeMounts"]) {
            made.make_volume(text(&mount["name"]));
        }
        made
    }

    /// What the kubelet makes: everything belongs to root and the pod's `fsGroup`.
    fn make_volume(&self, name: &str) {
        let volume = self.pod.volumes()[name];
        let directory = self.volume(name);
        fs::create_dir(&directory).unwrap();
        let (source, mode) = if volume["configMap"].is_object() {
            (Some(("ConfigMap", &volume["configMap"]["name"])), 0o644)
        } else if volume["secret"].is_object() {
            let mode = u32::try_from(volume["secret"]["defaultMode"].as_u64().unwrap()).unwrap();
            (Some(("Secret", &volume["secret"]["secretName"])), mode)
        } else {
            (None, 0)
        };
        let group = self.number("fsGroup");
        if let Some((kind, source)) = source {
            let is_source = |object: &&Object| object.is(kind, self.pod.namespace(), text(source));
            let files: BTreeMap<String, String> = data(self.objects.iter().find(is_source).unwrap());
            for (file, contents) in files {
                let path = directory.join(file);
                fs::write(&path, contents).unwrap();
                fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
                chown(&path, Some(0), Some(group)).unwrap();
            }
        }
        chown(&directory, Some(0), Some(group)).unwrap();
        // An emptyDir is open to all, a claim and a projected volume to the group.
        let mode = if volume["emptyDir"].is_object() { 0o2777 } else { 0o2775 };
        fs::set_permissions(&directory, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// Where a volume lies on this machine.
    fn volume(&self, name: &str) -> PathBuf {
        self.ground.path().join(name)
    }

    /// A number of the container's security context, or else of its pod's.
    fn number(&self, field: &str) -> u32 {
        let own = &self.spec["securityContext"][field];
        let value = own.as_u64().or(self.pod.spec()["securityContext"][field].as_u64());
        u32::try_from(value.unwrap()).unwrap()
    }

    /// Variables that stand in the container or come from a `ConfigMap`, with others over them.
    fn variables(&self, others: &[(&str, &str)]) -> BTreeMap<String, String> {
        let mut variables = BTreeMap::new();
        for source in list(&self.spec["envFrom"]) {
            let name = text(&source["configMapRef"]["name"]);
            let is_source = |object: &&Object| object.is("ConfigMap", self.pod.namespace(), name);
            variables.extend(data(self.objects.iter().find(is_source).unwrap()));
        }
        for variable in list(&self.spec["env"]) {
            variables.insert(text(&variable["name"]).to_owned(), text(&variable["value"]).to_owned());
        }
        for (name, value) in others {
            variables.insert((*name).to_owned(), (*value).to_owned());
        }
        variables
    }

    /// The words of a probe's command.
    fn probe(&self, name: &str) -> Vec<&'a str> {
        list(&self.spec[name]["exec"]["command"]).iter().map(text).collect()
    }

    fn start(&mut self, command: &[&str], variables: &[(&str, &str)]) {
        let volumes = list(&self.spec["volumeMounts"]).iter().map(|mount| {
            let mode = if mount["readOnly"] == true { "ro" } else { "rw" };
            let source = self.volume(text(&mount["name"]));
            format!("{} {} {mode}\n", source.display(), text(&mount["mountPath"]))
        });
        let volumes: String = volumes.collect();
        let table = self.ground.path().join("volumes");
        fs::write(&table, volumes).unwrap();
        let log = fs::File::create(self.log_file()).unwrap();
        let child = Command::new("unshare")
            .args(["--mount", "--pid", "--ipc", "--fork", "bash", "-c", ENTER, "enter"])
            .arg(self.ground.path().join("root"))
            .arg(find_bin_directory().unwrap())
            .args(["runAsUser", "runAsGroup", "fsGroup"].map(|field| self.number(field).to_string()))
            .args(command)
            .env_clear()
            .env("PATH", std::env::var("PATH").unwrap())
            .envs(self.variables(variables))
            .current_dir("/")
            .stdin(fs::File::open(table).unwrap())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.running = Some(child);
    }

    /// Waits until the server takes connections on the socket that the pod shares.
    fn wait_until_ready(&mut self) {
        wait::until("the server to take connections", || {
            let ended = self.running.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "{}", self.log());
            self.sql("postgres", "SELECT").is_ok()
        });
    }

    fn log_file(&self) -> PathBuf {
        self.ground.path().join("log")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap()
    }

    /// As the superuser, through the socket.
    fn sql(&self, database: &str, query: &str) -> Result<String, String> {
        let output = Command::new(find_bin_directory().unwrap().join("psql"))
            .args([
                "-X", "-A", "-t", "-w", "-U", "postgres", "-d", database, "-c", query, "-h",
            ])
            .arg(self.volume("socket"))
            .output()
            .unwrap();
        let printed = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().trim().to_owned();
        if output.status.success() {
            Ok(printed(output.stdout))
        } else {
            Err(printed(output.stderr))
        }
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        let root = self.ground.path().join("root");
        // Process 1 among them, and with it all others. `unshare --kill-child` does not reach what has changed its user.
        for process in processes_in(&root) {
            kill(process, Signal::SIGKILL).ok();
        }
        if let Some(mut child) = self.running.take() {
            child.wait().unwrap();
        }
        wait::until("the container's processes to end", || processes_in(&root).is_empty());
    }
}

/// Those whose root the directory is.
fn processes_in(directory: &Path) -> Vec<ProcessId> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let there =
        processes.filter(|process| fs::read_link(process.path().join("root")).is_ok_and(|root| root == directory));
    let ids = there.filter_map(|process| process.file_name().to_str()?.parse().ok());
    ids.map(ProcessId::from_raw).collect()
}

#[test]
fn the_throw_away_server_starts_in_its_container() {
    if !geteuid().is_root() {
        return;
    }
    for (overlay, objects) in overlays() {
        let mut container = Container::postgres(objects, "app-restore-test");
        let command: Vec<&str> = list(&container.spec["command"]).iter().map(text).collect();
        container.start(&command, &[("REPOSITORY_ID", "an-id")]);
        container.wait_until_ready();
        let marker = "SELECT setconfig FROM pg_db_role_setting s JOIN pg_database d ON d.oid = setdatabase
                      WHERE datname = 'shop'";
        assert_eq!(
            container.sql("shop", marker).unwrap(),
            "{kubebackup.disposable=an-id}",
            "{overlay}"
        );
        // More than the server itself: shared memory, temporary files and a large sort.
        let built = container.sql(
            "shop",
            "CREATE TABLE t AS SELECT md5(g::text) AS m FROM generate_series(1, 200000) g;
             CREATE INDEX ON t (m); SELECT count(*) FROM t",
        );
        assert!(built.unwrap().ends_with("200000"), "{overlay}");
        assert_eq!(container.sql("shop", "SHOW listen_addresses").unwrap(), "", "{overlay}");
        // The probe's words, with the socket where it lies on this machine.
        let probe = container.probe("livenessProbe");
        let socket = container.volume("socket").display().to_string();
        let words = probe[1..]
            .iter()
            .map(|word| word.replace("/var/run/postgresql", &socket));
        let program = find_bin_directory().unwrap().join(probe[0]);
        assert!(
            Command::new(program).args(words).status().unwrap().success(),
            "{overlay}"
        );
        let data = fs::metadata(container.volume("scratch").join("throw-away")).unwrap();
        assert_eq!(data.permissions().mode() & 0o777, 0o700, "{overlay}");
    }
}

/// What the image's entry point does with an empty volume, by the container's own variables, and then the container's probe.
/// The entry point itself is the image's.
#[test]
fn the_example_s_server_starts_in_its_container() {
    const AS_THE_IMAGE_DOES: &str = r#"
        eval "initdb --username=postgres --pwfile=$POSTGRES_PASSWORD_FILE $POSTGRES_INITDB_ARGS" > /tmp/initdb.log || exit 1
        pg_ctl --silent --wait --log=/tmp/server.log start || { cat /tmp/server.log; exit 1; }
        "$@" || { echo "the probe failed"; exit 1; }
        psql --no-psqlrc -Atw -c 'SHOW data_checksums' -c "SELECT datlocprovider FROM pg_database WHERE datname = 'template1'"
        psql --no-psqlrc -Atw --host=127.0.0.1 -c 'SELECT' && echo "anybody may enter"
        PGPASSWORD=$(cat "$POSTGRES_PASSWORD_FILE") psql --no-psqlrc -Atw --host=127.0.0.1 -c 'SELECT current_user'
        pg_ctl --silent --wait --mode=fast stop"#;
    if !geteuid().is_root() {
        return;
    }
    for (overlay, objects) in overlays() {
        let mut container = Container::postgres(objects, "app-test");
        let mut command = vec!["/bin/sh", "-c", AS_THE_IMAGE_DOES, "probe"];
        command.extend(container.probe("readinessProbe"));
        let port = free_port().to_string();
        container.start(
            &command,
            &[("PGPORT", &port), ("PGUSER", "postgres"), ("PGDATABASE", "postgres")],
        );
        let status = container.running.take().unwrap().wait().unwrap();
        let log = container.log();
        assert!(status.success(), "{overlay}: {log}");
        assert!(log.contains("\non\ni\n"), "{overlay}: {log}");
        assert!(
            log.contains("no password supplied") && !log.contains("anybody"),
            "{overlay}: {log}"
        );
        assert!(log.ends_with("\npostgres\n"), "{overlay}: {log}");
    }
}

/// So that the two tests above are about a container: nothing outside its volumes can be written, and root is not there.
#[test]
fn a_container_here_has_no_more_than_one_there() {
    if !geteuid().is_root() {
        return;
    }
    let mut container = Container::postgres(&overlays()["k3s-demo"], "app-restore-test");
    let command = "id; echo $$; grep -E '^(CapBnd|NoNewPrivs)' /proc/self/status; touch /bin/x; touch /etc/throw-away/x; \
                   ls -ld /scratch; readlink /bin/sh";
    container.start(&["/bin/sh", "-c", command], &[]);
    container.running.take().unwrap().wait().unwrap();
    let log = container.log();
    for shown in [
        "uid=70(postgres) gid=70 groups=10001",
        "\n1\n",
        "CapBnd:\t0000000000000000",
        "NoNewPrivs:\t1",
        "touch: /bin/x: Read-only file system",
        "touch: /etc/throw-away/x: Read-only file system",
        "drwxrwsrwx",
        "/bin/busybox",
    ] {
        assert!(log.contains(shown), "{shown} is not in:\n{log}");
    }
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.local_addr().unwrap().port()
}
