//! One sampler for each VM that somebody looks at: it asks the agent for a sample a second, puts it together with what the VMM uses, and
//! stops some time after the last one looked away.

use super::outside;
use crate::http::problem::{Answer, Refusal};
use actors::Node;
use api::{
    guest::MetricsSample,
    v1::{VmMetrics, VmmMetrics, VmmProcess},
};
use domain::VmId;
use host::guest::GuestSession;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};
use tokio::sync::watch;

const EVERY: Duration = Duration::from_secs(1);
/// So that a client that asks again and again is answered by differences, not since boot.
const LINGER: Duration = Duration::from_secs(30);
/// The first sample comes right after hello; later than this the guest is starved.
const FIRST_WITHIN: Duration = Duration::from_secs(15);

/// Setting the pace brings a sample at once; a difference over less than this says nothing (the guest counts in hundredths of a second).
const APART_MS: u64 = 250;

type Sender = watch::Sender<Option<VmMetrics>>;

/// The samplers that run.
#[derive(Default)]
pub struct Samplers(Mutex<HashMap<VmId, Weak<Sender>>>);

impl Samplers {
    /// A receiver with a first sample in it. It ends when the guest can't be reached any more.
    pub async fn look(self: &Arc<Self>, node: &Node, vm: VmId) -> Answer<watch::Receiver<Option<VmMetrics>>> {
        let mut receiver = match self.running(vm) {
            Some(receiver) => receiver,
            None => {
                let session = node.guest(vm).await?;
                self.begin(node.clone(), vm, session)
            }
        };
        let first = tokio::time::timeout(FIRST_WITHIN, receiver.wait_for(Option::is_some)).await;
        if matches!(first, Ok(Ok(_))) {
            drop(first);
            return Ok(receiver);
        }
        Err(Refusal::from(host::guest::GuestFault::Closed))
    }

    fn running(&self, vm: VmId) -> Option<watch::Receiver<Option<VmMetrics>>> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(&vm).and_then(Weak::upgrade).map(|sender| sender.subscribe())
    }

    fn begin(self: &Arc<Self>, node: Node, vm: VmId, session: Arc<dyn GuestSession>) -> watch::Receiver<Option<VmMetrics>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Another one may have begun in the meantime.
        if let Some(sender) = all.get(&vm).and_then(Weak::upgrade) {
            return sender.subscribe();
        }
        let sender = Arc::new(watch::Sender::new(None));
        all.insert(vm, Arc::downgrade(&sender));
        let receiver = sender.subscribe();
        let samplers = Arc::clone(self);
        tokio::spawn(async move {
            sample(&node, vm, &session, &sender).await;
            let mut all = samplers.0.lock().unwrap_or_else(PoisonError::into_inner);
            if all.get(&vm).is_some_and(|weak| weak.as_ptr() == Arc::as_ptr(&sender)) {
                all.remove(&vm);
            }
        });
        receiver
    }
}

/// Until the session ends or nobody has looked for [`LINGER`].
async fn sample(node: &Node, vm: VmId, session: &Arc<dyn GuestSession>, sender: &Sender) {
    if let Err(fault) = session.metrics_interval(Some(EVERY)).await {
        tracing::debug!(%vm, %fault, "the guest's pace of metrics can't be set");
    }
    let mut samples = session.metrics();
    // What is there is up to ten seconds old: good to measure from, not to be shown as now.
    let mut before: Option<MetricsSample> = samples.borrow_and_update().clone();
    let mut process = None;
    loop {
        tokio::select! {
            _ = session.closed() => return,
            changed = samples.changed() => if changed.is_err() { return },
            () = abandoned(sender) => break,
        }
        let Some(now) = samples.borrow_and_update().clone() else { continue };
        let apart_ms = before.as_ref().and_then(|before| now.uptime_ms.checked_sub(before.uptime_ms));
        if apart_ms.is_some_and(|apart_ms| apart_ms < APART_MS) {
            continue;
        }
        let outside = node.outside(vm).await.ok().map(outside::told);
        // Counters rise: what can't be told this time stays what it was.
        process = outside.as_ref().and_then(|vmm| vmm.process.clone()).or(process);
        sender.send_replace(Some(merge(before.as_ref(), &now, process.clone().unwrap_or_default(), outside)));
        before = Some(now);
    }
    let _ = session.metrics_interval(None).await;
}

async fn abandoned(sender: &Sender) {
    loop {
        sender.closed().await;
        tokio::time::sleep(LINGER).await;
        if sender.receiver_count() == 0 {
            return;
        }
    }
}

fn merge(before: Option<&MetricsSample>, now: &MetricsSample, process: VmmProcess, vmm: Option<VmmMetrics>) -> VmMetrics {
    let root = now.filesystems.iter().find(|filesystem| filesystem.mount == "/");
    let disk_total_bytes = root.map_or(0, |root| root.total_bytes);
    VmMetrics {
        time_ms: crate::http::idempotency::now_ms(),
        cpu_percent: cpu_percent(before, now),
        mem_total_bytes: now.memory.total_bytes,
        mem_used_bytes: now.memory.total_bytes.saturating_sub(now.memory.available_bytes),
        disk_total_bytes,
        disk_used_bytes: disk_total_bytes.saturating_sub(root.map_or(0, |root| root.available_bytes)),
        disk_read_bytes_total: now.disks.iter().map(|disk| disk.read_bytes).sum(),
        disk_written_bytes_total: now.disks.iter().map(|disk| disk.write_bytes).sum(),
        net_received_bytes_total: now.networks.iter().map(|network| network.received_bytes).sum(),
        net_sent_bytes_total: now.networks.iter().map(|network| network.sent_bytes).sum(),
        load1: now.load[0],
        load5: now.load[1],
        load15: now.load[2],
        processes: now.processes.total,
        uptime_s: now.uptime_ms / 1000,
        vmm_rss_bytes: process.rss_bytes,
        vmm_cpu_ms_total: process.cpu_ms_total,
        vmm,
    }
}

/// Since the sample before; since boot if there is none, or if the guest was booted in between.
fn cpu_percent(before: Option<&MetricsSample>, now: &MetricsSample) -> f64 {
    let busy = |sample: &MetricsSample| sample.cpu.user_ms + sample.cpu.system_ms + sample.cpu.steal_ms;
    let all = |sample: &MetricsSample| busy(sample) + sample.cpu.idle_ms + sample.cpu.iowait_ms;
    let zero = MetricsSample::default();
    let before = before.filter(|before| before.uptime_ms <= now.uptime_ms).unwrap_or(&zero);
    let (busy, all) = (busy(now).saturating_sub(busy(before)), all(now).saturating_sub(all(before)));
    if all == 0 { 0.0 } else { (busy as f64 * 100.0 / all as f64).min(100.0) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::guest::CpuTimes;

    fn at(uptime_ms: u64, user_ms: u64, idle_ms: u64) -> MetricsSample {
        MetricsSample { uptime_ms, cpu: CpuTimes { user_ms, idle_ms, ..CpuTimes::default() }, ..MetricsSample::default() }
    }

    #[test]
    fn the_processors_use_is_a_difference() {
        let (first, second) = (at(1000, 500, 500), at(2000, 750, 1250));
        assert_eq!(cpu_percent(None, &first), 50.0);
        assert_eq!(cpu_percent(Some(&first), &second), 25.0);
        assert_eq!(cpu_percent(Some(&second), &first), 50.0, "booted anew");
        assert_eq!(cpu_percent(Some(&first), &first), 0.0, "nothing in between");
    }
}
