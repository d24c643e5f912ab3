//! One scrape in the making: a recorder of its own for each, so that what is not written is absent.

use jiff::Timestamp;
use metrics::{Key, Label, Level, Metadata, Recorder as _};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};

use super::table::{Kind, METRICS};
use crate::http::status::AgentKind;
use crate::telemetry::memory;

/// What the process occupies; none where the kernel does not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessMemory {
    pub resident_bytes: Option<u64>,
    pub peak_bytes: Option<u64>,
}

impl ProcessMemory {
    /// Of this process.
    #[must_use]
    pub fn now() -> Self {
        Self {
            resident_bytes: memory::resident_bytes(),
            peak_bytes: memory::peak_resident_bytes(),
        }
    }
}

/// Where metrics are written, by the names of the table without their common beginning.
pub(super) struct Sheet {
    recorder: PrometheusRecorder,
    pub(super) agent: AgentKind,
}

/// Every metric's name begins with this.
pub(super) const PREFIX: &str = "kubebackup_";

const METADATA: Metadata<'static> = Metadata::new("kubebackup", Level::INFO, None);

impl Sheet {
    /// Empty.
    pub(super) fn new(agent: AgentKind) -> Self {
        let recorder = PrometheusBuilder::new().build_recorder();
        for metric in METRICS {
            let name = format!("{PREFIX}{}", metric.name).into();
            match metric.kind {
                Kind::Gauge => recorder.describe_gauge(name, None, metric.help.into()),
                Kind::Counter => recorder.describe_counter(name, None, metric.help.into()),
            }
        }
        Self { recorder, agent }
    }

    /// Writes a gauge, if its value is known.
    pub(super) fn gauge(&self, name: &str, value: impl Into<Option<f64>>) {
        self.labelled_gauge(name, &[], value);
    }

    pub(super) fn labelled_gauge(&self, name: &str, labels: &[(&'static str, &str)], value: impl Into<Option<f64>>) {
        if let Some(value) = value.into() {
            self.recorder.register_gauge(&key(name, labels), &METADATA).set(value);
        }
    }

    pub(super) fn time(&self, name: &str, time: impl Into<Option<Timestamp>>) {
        self.gauge(name, time.into().map(unix_seconds));
    }

    pub(super) fn labelled_time(&self, name: &str, labels: &[(&'static str, &str)], time: Option<Timestamp>) {
        self.labelled_gauge(name, labels, time.map(unix_seconds));
    }

    pub(super) fn number(&self, name: &str, number: impl Into<Option<u64>>) {
        self.gauge(name, number.into().map(float));
    }

    pub(super) fn labelled_number(&self, name: &str, labels: &[(&'static str, &str)], number: u64) {
        self.labelled_gauge(name, labels, float(number));
    }

    pub(super) fn flag(&self, name: &str, flag: impl Into<Option<bool>>) {
        self.gauge(name, flag.into().map(|flag| if flag { 1.0 } else { 0.0 }));
    }

    pub(super) fn counter(&self, name: &str, labels: &[(&'static str, &str)], value: u64) {
        let counter = self.recorder.register_counter(&key(name, labels), &METADATA);
        counter.absolute(value);
    }

    /// As Prometheus reads it. The recorder keeps its families in no order; a person who compares two scrapes wants one.
    pub(super) fn text(&self) -> String {
        let unordered = self.recorder.handle().render();
        let mut families: Vec<Vec<&str>> = unordered
            .split("\n\n")
            .map(|family| family.lines().collect::<Vec<_>>())
            .filter(|lines| !lines.is_empty())
            .collect();
        // `# HELP` and `# TYPE` come before any name.
        for lines in &mut families {
            lines.sort_unstable();
        }
        families.sort_unstable();
        let mut text = families.concat().join("\n");
        text.push('\n');
        text
    }
}

fn key(name: &str, labels: &[(&'static str, &str)]) -> Key {
    let labels: Vec<Label> = labels
        .iter()
        .map(|(name, value)| Label::new(*name, (*value).to_owned()))
        .collect();
    Key::from_parts(format!("{PREFIX}{name}"), labels)
}

/// Seconds since 1970, to the microsecond.
pub(super) fn unix_seconds(time: Timestamp) -> f64 {
    time.duration_since(Timestamp::UNIX_EPOCH).as_secs_f64()
}

#[allow(clippy::cast_precision_loss, reason = "Prometheus knows nothing but floats")]
fn float(number: u64) -> f64 {
    number as f64
}
