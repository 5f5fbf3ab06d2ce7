//! The seed of a guest, on every driver that has real ones.

// Helpers of tests are not seen as tests by the lint.
#![allow(clippy::unwrap_used)]

use crate::contract::{HELLO, Images, plan, start};
use crate::guests::{output, skipped};
use domain::{VmId, vm::CloudInit};
use host::vmm::{MachinePlan, Vmm};

/// What `crypt(3)` makes of "Hello world!".
const HASH: &str = "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1";

/// What cloud-init would find: the second drive, read-only, with what the newest launch says; and none where none was asked for.
pub async fn a_guest_has_its_seed(vmm: &dyn Vmm, vm: VmId, images: &Images) {
    let plain = plan(vm, images);
    let data = |text: &str, password_hash: Option<&str>| {
        let ssh_keys = vec!["ssh-ed25519 AAAA me".into()];
        Some(Box::new(CloudInit { user_data: Some(text.into()), ssh_keys, password_hash: password_hash.map(Into::into) }))
    };
    let plans = [
        MachinePlan { cloud_init: data("#cloud-config\nruncmd: [[touch, /ran]]\n", Some(HASH)), ..plain.clone() },
        MachinePlan { cloud_init: data("#!/bin/sh\necho changed\n", None), ..plain.clone() },
        plain,
    ];
    for (plan, launch) in plans.iter().zip(1..) {
        let machine = start(vmm, plan, launch).await;
        let guest = vmm.guest(vm, &machine, HELLO).await.expect("hello");
        let told = async |argv: &[&str]| output(&*guest, argv).await;
        assert!(told(&["grep", "-c", "^/dev/vda / ", "/proc/mounts"]).await.starts_with('1'), "the root is the first drive");
        match host::seed::image(plan) {
            None => assert_eq!(told(&["ls", "/dev/vdb"]).await, ""),
            Some(seed) => {
                let request =
                    api::guest::ExecRequest { argv: ["cat", "/dev/vdb"].map(str::to_owned).into(), ..Default::default() };
                let drive = guest.exec(request).await.unwrap().collect(1 << 20).await.unwrap().stdout;
                assert!(drive == seed, "{} bytes in the guest, {} made", drive.len(), seed.len());
                assert_eq!(told(&["cat", "/sys/block/vdb/ro"]).await, "1");
                if told(&["cat", "/proc/filesystems"]).await.contains("iso9660") {
                    // Not where the guest's own start, which the agent does not wait for, mounts something over it.
                    let mounted = [
                        "sh",
                        "-c",
                        "(mkdir -p /seed && mount -t iso9660 -o ro /dev/vdb /seed && cat /seed/user-data /seed/meta-data || dmesg | tail -5) 2>&1",
                    ];
                    let expected = plan.cloud_init.as_ref().unwrap().user_data.as_deref().unwrap();
                    let shown = told(&mounted).await;
                    let meta = shown.strip_prefix(expected).unwrap_or_else(|| panic!("{shown:?}"));
                    let meta: serde_json::Value = serde_json::from_str(meta).unwrap();
                    assert_eq!((&meta["instance-id"], &meta["local-hostname"]), (&vm.to_string().into(), &"contract".into()));
                    assert_eq!(meta["local-hostname"], told(&["hostname"]).await, "the agent says the same");
                    assert_eq!(meta["public-keys"][0], "ssh-ed25519 AAAA me");
                    let vendor = told(&["cat", "/seed/vendor-data"]).await;
                    let expected = match plan.cloud_init.as_ref().unwrap().password_hash {
                        Some(_) => format!("#cloud-config\n{{\"chpasswd\":{{\"expire\":false}},\"password\":\"{HASH}\"}}"),
                        None => String::new(),
                    };
                    assert_eq!(vendor.trim_end(), expected);
                } else {
                    skipped("a_guest_has_its_seed (the mount)", "the guest's kernel has no iso9660");
                }
            }
        }
        vmm.kill(vm, &machine).await.unwrap();
    }
    vmm.remove(vm).await.unwrap();
}
