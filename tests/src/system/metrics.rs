//! A Prometheus of a test's own.

use std::{fs, process::Command, thread, time::Instant};

use serde_json::Value;

use super::{
    PACE, PATIENCE,
    unit::{Unit, said},
};
use crate::harness::{Context, Failure, Test, ensure};

/// All of them.
pub(crate) const TESTS: &[Test] =
    &[("Prometheus scrapes a target, and answers what it found there", scrapes)];

const ADDRESS: &str = "127.0.0.1:9090";
const FILE: &str = "/etc/prometheus/ringfence-test.yml";

/// A Prometheus that scrapes every second, for as long as it is not dropped.
pub(crate) struct Prometheus {
    _unit: Unit,
}

impl Prometheus {
    /// Starts it, with targets as in `127.0.0.1:9464`.
    ///
    /// # Errors
    ///
    /// When it does not start.
    pub(crate) fn start(targets: &[&str]) -> Result<Self, Failure> {
        let targets = serde_json::json!({
            "global": { "scrape_interval": "1s", "scrape_timeout": "1s" },
            "scrape_configs": [
                { "job_name": "test", "static_configs": [{ "targets": targets }] },
            ],
        });
        // JSON is YAML.
        fs::write(FILE, targets.to_string())?;
        let text = format!(
            "[Service]\nDynamicUser=yes\nStateDirectory=prometheus-test\n\
             ExecStart=/usr/bin/prometheus --config.file={FILE} \
             --web.listen-address={ADDRESS} --storage.tsdb.path=/var/lib/prometheus-test\n"
        );
        let unit = Unit::write("prometheus-test.service", &text)?;
        unit.start()?;
        Ok(Self { _unit: unit })
    }

    /// What a query gives, with the labels and the value of each series, once it gives anything.
    ///
    /// # Errors
    ///
    /// When it gives nothing, for long.
    pub(crate) fn query(&self, query: &str) -> Result<Vec<(Value, f64)>, Failure> {
        let start = Instant::now();
        loop {
            let mut curl = Command::new("curl");
            curl.args(["--silent", "--show-error", "--get", "--data-urlencode"]);
            curl.arg(format!("query={query}")).arg(format!("http://{ADDRESS}/api/v1/query"));
            let answer = said(&mut curl).ok().and_then(|text| parse(&text));
            match answer {
                Some(series) if !series.is_empty() => return Ok(series),
                _ => {}
            }
            ensure(start.elapsed() < PATIENCE, || format!("`{query}` gives nothing"))?;
            thread::sleep(PACE);
        }
    }
}

/// Reads an answer to an instant query.
fn parse(text: &str) -> Option<Vec<(Value, f64)>> {
    let answer: Value = serde_json::from_str(text).ok()?;
    let series = answer["data"]["result"].as_array()?.iter();
    series
        .map(|one| Some((one["metric"].clone(), one["value"][1].as_str()?.parse().ok()?)))
        .collect()
}

fn scrapes(_: &mut Context) -> Result<(), Failure> {
    // There is one target for sure.
    let prometheus = Prometheus::start(&[ADDRESS])?;
    let up = prometheus.query("up == 1")?;
    ensure(up.len() == 1 && up[0].0["instance"] == ADDRESS, || format!("{up:?}"))?;
    let build = prometheus.query("prometheus_build_info")?;
    ensure(build[0].0["version"].as_str().is_some_and(|text| !text.is_empty()), || {
        format!("{build:?}")
    })
}
