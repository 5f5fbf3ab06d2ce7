//! What a change of a specification means: the next specification, what of it needs that no machine exists, and what a running machine takes
//! over at once.

use super::{
    devices::{CpuTemplate, Devices, RateLimits},
    input::{Change, PasswordChange, RateLimitsChange},
    spec::VmSpec,
};
use crate::host::{Capability, Offer};

impl Change {
    /// What `spec` becomes.
    #[must_use]
    pub fn applied(&self, spec: &VmSpec) -> VmSpec {
        let mut spec = spec.clone();
        self.apply(&mut spec);
        spec
    }

    /// What becomes of `spec`; name and labels are no part of it.
    pub fn apply(&self, spec: &mut VmSpec) {
        fn set<T: Clone>(place: &mut T, wanted: Option<&T>) {
            if let Some(wanted) = wanted {
                *place = wanted.clone();
            }
        }
        set(&mut spec.restart, self.restart.as_ref());
        set(&mut spec.vcpus, self.vcpus.as_ref());
        set(&mut spec.mem_mib, self.mem_mib.as_ref());
        set(&mut spec.cmdline, self.cmdline.as_ref());
        set(&mut spec.disk_mib, self.disk_mib.map(Some).as_ref());
        self.rate_limits.apply(&mut spec.devices.rate_limits);
        set(&mut spec.devices.balloon_mib, self.balloon_mib.as_ref());
        set(&mut spec.devices.cpu_template, self.cpu_template.as_ref());
        set(&mut spec.devices.mem_max_mib, self.mem_max_mib.as_ref());
        self.give(&mut spec.devices);
        set(&mut spec.devices.metadata, self.metadata.as_ref());
        set(&mut spec.networks, self.networks.as_ref().map(|change| &change.wanted));
        if let Some(change) = &self.drives {
            spec.devices.drives.apply(change);
        }
    }

    fn give(&self, devices: &mut Devices) {
        let Some(given) = &self.cloud_init else { return };
        let before = devices.cloud_init.take().and_then(|before| before.password_hash);
        devices.cloud_init.clone_from(given);
        if let Some(after) = &mut devices.cloud_init
            && self.password == PasswordChange::Kept
        {
            after.password_hash = before;
        }
    }

    /// Whether it is about what a machine of that specification is made with: the next one takes it over. Memory is judged by itself.
    pub(super) fn remakes(&self, spec: &VmSpec) -> bool {
        self.vcpus.is_some()
            || self.mem_max_mib.is_some()
            || self.cmdline.is_some()
            || self.cpu_template.is_some()
            || self.drives.as_ref().is_some_and(|change| spec.devices.drives.are_remade_by(change))
            || self.networks.is_some()
    }

    /// Whether it names disks that a running machine has, which then become as large as they are to be.
    fn grows(&self) -> bool {
        self.disk_mib.is_some() || self.drives.as_ref().is_some_and(|change| !change.set.is_empty())
    }

    /// Whether it is about what a running machine takes over at once, on a host that offers this.
    pub(super) fn tunes(&self, offer: Option<Offer>) -> bool {
        let tells = self.metadata.is_some() && serves(offer);
        tells
            || self.mem_mib.is_some()
            || self.grows()
            || self.rate_limits != RateLimitsChange::default()
            || self.balloon_mib.is_some()
    }

    /// Whether it is about what stands beside the user's metadata: the name, and what the VM's credentials are made of. It is taken at any time, and
    /// a machine that runs, or soon does, takes it over as well.
    pub(super) fn renews(&self, offer: Option<Offer>) -> bool {
        (self.name.is_some() || self.cloud_init.is_some()) && serves(offer)
    }

    /// What it asks of devices that was perhaps not asked before. What it takes away needs nothing.
    pub(super) fn asks(&self) -> Devices {
        let mut rate_limits = RateLimits::default();
        self.rate_limits.apply(&mut rate_limits);
        let cpu_template: Option<CpuTemplate> = self.cpu_template.flatten();
        let metadata = self.metadata.clone().flatten();
        let (balloon_mib, mem_max_mib) = (self.balloon_mib.unwrap_or(0), self.mem_max_mib.flatten());
        Devices { rate_limits, balloon_mib, cpu_template, metadata, mem_max_mib, ..Devices::default() }
    }
}

/// Without a service there is nobody to tell.
fn serves(offer: Option<Offer>) -> bool {
    offer.is_some_and(|offer| offer.has(Capability::Metadata).is_ok())
}

impl RateLimitsChange {
    fn apply(&self, limits: &mut RateLimits) {
        let each = [
            (&mut limits.disk_mib_per_s, self.disk_mib_per_s),
            (&mut limits.disk_ops_per_s, self.disk_ops_per_s),
            (&mut limits.rx_mbit_per_s, self.rx_mbit_per_s),
            (&mut limits.tx_mbit_per_s, self.tx_mbit_per_s),
        ];
        for (limit, wanted) in each {
            if let Some(wanted) = wanted {
                *limit = wanted;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vm::{CloudInit, Driver, RestartPolicy, step::tests::fixture};

    fn spec() -> VmSpec {
        let mut spec = fixture::draft(false, RestartPolicy::Never).spec;
        spec.devices.rate_limits = RateLimits { disk_mib_per_s: Some(5), rx_mbit_per_s: Some(7), ..RateLimits::default() };
        spec
    }

    #[test]
    fn what_is_absent_stays_and_each_limit_is_its_own() {
        let mut changed = spec();
        Change::default().apply(&mut changed);
        assert_eq!(changed, spec());
        let rate_limits =
            RateLimitsChange { disk_mib_per_s: Some(None), tx_mbit_per_s: Some(Some(9)), ..RateLimitsChange::default() };
        Change { rate_limits, ..Change::default() }.apply(&mut changed);
        let expected = RateLimits { rx_mbit_per_s: Some(7), tx_mbit_per_s: Some(9), ..RateLimits::default() };
        assert_eq!(changed.devices.rate_limits, expected);
        let all = Change {
            disk_mib: Some(900),
            balloon_mib: Some(3),
            cpu_template: Some(Some(CpuTemplate::T2)),
            cmdline: Some(Some("debug".into())),
            vcpus: Some(2),
            mem_mib: Some(99),
            mem_max_mib: Some(Some(199)),
            ..Change::default()
        };
        all.apply(&mut changed);
        let cpu_template = Some(CpuTemplate::T2);
        let devices =
            Devices { rate_limits: expected, balloon_mib: 3, cpu_template, mem_max_mib: Some(199), ..Devices::default() };
        let expected = VmSpec { vcpus: 2, mem_mib: 99, disk_mib: Some(900), cmdline: Some("debug".into()), devices, ..spec() };
        assert_eq!(changed, expected);
    }

    #[test]
    fn what_the_guest_is_given_is_replaced_as_a_whole_and_taken_away() {
        let mut changed = spec();
        let given = CloudInit { user_data: Some("a".into()), ..CloudInit::default() };
        let change =
            Change { cloud_init: Some(Some(Box::new(given.clone()))), metadata: Some(Some("{}".into())), ..Change::default() };
        change.apply(&mut changed);
        assert_eq!((changed.devices.cloud_init.as_deref(), changed.devices.metadata.as_deref()), (Some(&given), Some("{}")));
        assert_eq!(change.asks().needs(), [(crate::host::Capability::Metadata, "spec.metadata")]);
        // Neither is a reason to stop a guest that runs, and both are told it where it has a metadata service.
        assert!(!change.remakes(&spec()));
        for (can, tells) in [(Capability::Metadata, true), (Capability::Balloon, false)] {
            let offer = Some(Offer { driver: Driver::Simulated, capabilities: vec![can].into() });
            assert_eq!((change.tunes(offer), change.renews(offer)), (tells, tells));
        }
        assert!(!change.tunes(None) && !change.renews(None), "nothing is known of its host");
        let away = Change { cloud_init: Some(None), metadata: Some(None), ..Change::default() };
        away.apply(&mut changed);
        assert_eq!((changed.devices.clone(), away.asks().needs()), (spec().devices, vec![]));
    }

    /// Whoever sends back what a GET showed must not lose the password by it, nor get an older one back.
    #[test]
    fn a_password_is_kept_replaced_or_taken_away_with_the_rest() {
        let mut changed = spec();
        let with =
            |hash: Option<&str>| Some(Some(Box::new(CloudInit { password_hash: hash.map(Into::into), ..CloudInit::default() })));
        let mut becomes = |cloud_init, password| {
            Change { cloud_init, password, ..Change::default() }.apply(&mut changed);
            changed.devices.cloud_init.as_ref().map(|given| given.password_hash.as_deref().map(str::to_owned))
        };
        assert_eq!(becomes(with(Some("first")), PasswordChange::Replaced), Some(Some("first".into())));
        assert_eq!(becomes(with(None), PasswordChange::Kept), Some(Some("first".into())));
        assert_eq!(becomes(None, PasswordChange::Replaced), Some(Some("first".into())));
        assert_eq!(becomes(with(Some("second")), PasswordChange::Replaced), Some(Some("second".into())));
        assert_eq!(becomes(with(None), PasswordChange::Replaced), Some(None));
        assert_eq!(becomes(Some(None), PasswordChange::Kept), None);
    }

    #[test]
    fn what_is_taken_away_needs_nothing() {
        let none = RateLimitsChange { disk_mib_per_s: Some(None), ..RateLimitsChange::default() };
        let away = Change { rate_limits: none, balloon_mib: Some(0), cpu_template: Some(None), ..Change::default() };
        assert_eq!(away.asks().needs(), vec![]);
        let one = RateLimitsChange { disk_ops_per_s: Some(Some(1)), ..RateLimitsChange::default() };
        let fields: Vec<_> = Change { rate_limits: one, ..Change::default() }.asks().needs();
        assert_eq!(fields.into_iter().map(|(_, field)| field).collect::<Vec<_>>(), ["spec.rate_limits.disk_ops_per_s"]);
    }
}
