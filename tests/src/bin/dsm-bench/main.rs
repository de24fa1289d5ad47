//! The load run: reads over HTTP, each with authorization, durable audit and decryption, against a
//! bare route behind the same accept loop that gives the same bytes from memory.
//!
//! Both servers are programs of their own and take turns within one run, so that whatever the
//! machine does to one it does to the other. Turns in which the hypervisor took the processor away
//! are repeated.

mod bare;
mod load;
mod report;
mod sealing;
mod stores;

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

/// Reads over HTTP, compared with a bare route.
#[derive(Debug, Parser)]
struct Arguments {
    /// How many connections, each with one request under way.
    #[arg(long, value_delimiter = ',', default_value = "32,128")]
    connections: Vec<usize>,
    /// How many turns each server gets.
    #[arg(long, default_value_t = 7)]
    turns: usize,
    /// Seconds of a turn.
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// Where the data goes; a temporary folder unless said.
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// Measure the stores in place of the server.
    #[arg(long)]
    stores: bool,
    /// Measure sealing to a client's key in place of the server.
    #[arg(long, conflicts_with = "stores")]
    sealing: bool,
    /// Which stores are measured.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "memory,sqlite,postgres,redis"
    )]
    backends: Vec<stores::Backend>,
    /// How many secrets a vault holds when stores are measured, at least 1,000. Each takes
    /// about 5 KiB of memory while they are made.
    #[arg(long, value_delimiter = ',', default_value = "1000,100000")]
    secrets: Vec<usize>,
    /// Where filled stores are made, stay and are found again; a temporary folder unless said.
    #[arg(long)]
    kept: Option<PathBuf>,
    /// Fill the stores only, to measure later.
    #[arg(long, requires = "kept")]
    fill: bool,
    /// How many callers at the same time when stores or sealing are measured.
    #[arg(long, default_value_t = 16)]
    clients: usize,
    /// Serve these bytes as the bare route; for the run's own use.
    #[arg(long, hide = true)]
    bare: Option<PathBuf>,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments = Arguments::parse();
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if arguments.bare.is_none() && !arguments.stores && !arguments.sealing {
        // The load takes little; one thread leaves the rest to the servers.
        runtime.worker_threads(1);
    }
    let runtime = runtime.enable_all().build()?;
    match arguments.bare {
        Some(file) => runtime.block_on(bare::serve(&file)),
        None if arguments.stores => runtime.block_on(stores::run(stores::Plan {
            backends: arguments.backends,
            secrets: arguments.secrets,
            clients: arguments.clients,
            turn: Duration::from_secs(arguments.seconds),
            turns: arguments.turns,
            kept: arguments.kept,
            fill: arguments.fill,
        })),
        None if arguments.sealing => runtime.block_on(sealing::run(sealing::Plan {
            clients: arguments.clients,
            turn: Duration::from_secs(arguments.seconds),
            turns: arguments.turns,
        })),
        None => runtime.block_on(report::run(report::Plan {
            connections: arguments.connections,
            turns: arguments.turns,
            turn: Duration::from_secs(arguments.seconds),
            data: arguments.data_dir,
        })),
    }
}
