//! Whether time tells an unknown client from a wrong secret.
//!
//! `DSM_REQUESTS` says how many of each are timed. Only a campaign times enough of them to judge, so
//! only then the statistic is asserted.
#![allow(clippy::print_stdout, reason = "what a run was")]

use std::time::{Duration, Instant};

use dsm_tests::client::{Connection, request};
use dsm_tests::server::Server;

/// Above this a difference is taken for proved.
const PROVED: f64 = 4.5;
/// The slowest of both together, in a hundred, that the second statistic leaves out: they waited for a
/// disk or for the machine.
const SLOWEST: usize = 5;
const WARM_UP: usize = 200;
const ENOUGH: usize = 10_000;

fn count() -> usize {
    let given = std::env::var("DSM_REQUESTS").ok();
    given.map_or(150, |count| count.parse().expect("a number of requests"))
}

#[tokio::test]
async fn an_unknown_client_takes_as_long_as_a_wrong_secret_in_memory() {
    compare(&["--store", "memory:"]).await;
}

#[tokio::test]
async fn an_unknown_client_takes_as_long_as_a_wrong_secret_on_disk() {
    compare(&[]).await;
}

async fn compare(further: &[&str]) {
    let folder = tempfile::tempdir().expect("a folder");
    let unthrottled = [
        "--set",
        "throttle.address_per_minute=0",
        "--set",
        "throttle.client_per_minute=0",
    ];
    let arguments = [further, &unthrottled].concat();
    let server = Server::quickstart_with(folder.path(), &arguments).expect("a server");
    let known = server.printed.client_id.clone();
    let length = server.printed.client_secret.len();
    let mut connection = Connection::open(server.addr()).await.expect("it listens");
    let (mut unknown_us, mut wrong_us) = (Vec::new(), Vec::new());
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut random = move || {
        // xorshift64: which comes first must not be in step with anything.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for round in 0..count() + WARM_UP {
        let nobody = format!("{:016x}{:016x}{:010x}", random(), random(), random() >> 24);
        let secret: String = std::iter::repeat_with(|| format!("{:016x}", random()))
            .take(length / 16 + 1)
            .collect();
        assert_eq!(nobody.len(), known.len());
        let first = random() % 2 == 0;
        for unknown in [first, !first] {
            let id = if unknown { &nobody } else { &known };
            let body = format!(
                "grant_type=client_credentials&client_id={id}&client_secret={}",
                &secret[..length]
            );
            let form = [("Content-Type", "application/x-www-form-urlencoded")];
            let request = request("POST", "/iso/oauth2/token", &form, body.as_bytes());
            let started = Instant::now();
            let status = connection
                .send_for_status(&request)
                .await
                .expect("an answer");
            let took = started.elapsed();
            assert_eq!(status, 401);
            if round >= WARM_UP {
                let times = if unknown {
                    &mut unknown_us
                } else {
                    &mut wrong_us
                };
                times.push(micros(took));
            }
        }
    }
    let all = welch(&unknown_us, &wrong_us);
    let limit = percentile(
        &[unknown_us.clone(), wrong_us.clone()].concat(),
        100 - SLOWEST,
    );
    let usual = |times: &[f64]| -> Vec<f64> {
        times
            .iter()
            .copied()
            .filter(|time| *time <= limit)
            .collect()
    };
    let most = welch(&usual(&unknown_us), &usual(&wrong_us));
    println!(
        "{further:?}: {} each; unknown {:.1} us, wrong {:.1} us at the median; t = {all:.2}, without \
         the slowest {SLOWEST} % t = {most:.2}",
        unknown_us.len(),
        percentile(&unknown_us, 50),
        percentile(&wrong_us, 50),
    );
    assert!(all.is_finite() && most.is_finite());
    if unknown_us.len() >= ENOUGH {
        assert!(all.abs() < PROVED, "t = {all}");
        assert!(most.abs() < PROVED, "t = {most} without the slowest");
    }
    server.stop().expect("it stops");
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// Welch's statistic of two samples.
fn welch(a: &[f64], b: &[f64]) -> f64 {
    let (mean_a, error_a) = moments(a);
    let (mean_b, error_b) = moments(b);
    (mean_a - mean_b) / (error_a + error_b).sqrt()
}

/// The mean, and the square of its standard error.
fn moments(sample: &[f64]) -> (f64, f64) {
    #[expect(clippy::cast_precision_loss, reason = "counts of requests are small")]
    let count = sample.len() as f64;
    let mean = sample.iter().sum::<f64>() / count;
    let squares: f64 = sample.iter().map(|x| (x - mean).powi(2)).sum();
    (mean, squares / (count - 1.0) / count)
}

fn percentile(sample: &[f64], percent: usize) -> f64 {
    let mut sorted = sample.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[(sorted.len() - 1) * percent / 100]
}

#[test]
fn the_statistic_is_welchs() {
    // By hand: means 2 and 4, variances 1 and 4, three of each.
    let t = welch(&[1.0, 2.0, 3.0], &[2.0, 4.0, 6.0]);
    assert!((t - -2.0 / (5.0_f64 / 3.0).sqrt()).abs() < 1e-12);
}
