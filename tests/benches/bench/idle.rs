//! Memory of a server with nothing running, after it has answered once.

use super::{
    http::Http,
    server::Server,
    stats::{Row, Samples},
};
use anyhow::Result;

const STARTS: usize = 5;
/// FIGURES: at most 40 MiB.
const MOST_MIB: f64 = 40.0;

pub async fn run() -> Result<Vec<Row>> {
    let (mut memory, mut starts) = (Samples::default(), Samples::default());
    for _ in 0..STARTS {
        let dir = tempfile::tempdir()?;
        let server = Server::start(dir.path(), "simulated", &[])?;
        Http::connect(&server).await?.want("GET", "/v1/vms", "").await?;
        memory.add(server.rss_kib()? / 1024.0);
        starts.add_ms(server.start_took);
        server.stop()?;
    }
    let met = memory.percentile(99.0) <= MOST_MIB;
    Ok(vec![
        Row::of("server with nothing running, resident", "MiB", &memory).target("<= 40 MiB", met),
        Row::of("its start, empty data directory, to ready", "ms", &starts),
    ])
}
