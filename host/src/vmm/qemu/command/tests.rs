//! The command lines as they must be, word for word: a change here changes every guest.

use super::super::super::sample::{self, nic};
use super::*;
use domain::{
    VmId,
    vm::{DriveChange, Drives, RateLimits},
};

fn plan(nic: Option<NicPlan>) -> MachinePlan {
    MachinePlan { vcpus: 2, nics: nic.into_iter().collect(), cmdline: Some("debug".into()), ..sample::plan() }
}

#[test]
fn the_emulated_machine_with_network() {
    let tcg = Acceleration::Tcg { tsc_khz: Some(2_445_432) };
    let words = arguments(&plan(Some(nic())), "o1", tcg, Path::new("/images/k"), Path::new("/boot/i.cpio"), None);
    let golden = "qemu-system-x86_64 -name hearth-o1-vm_00000000000000000000000007 \
        -M microvm,x-option-roms=off,isa-serial=on,rtc=on -accel tcg -cpu max -smp 2 -m 256 -nodefaults -no-user-config -nographic -S \
        -no-reboot -action panic=exit-failure -device pvpanic \
        -sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny \
        -global virtio-mmio.force-legacy=false -kernel /images/k -initrd /boot/i.cpio -append \
        console=ttyS0 quiet panic=-1 reboot=t tsc_early_khz=2445432 tsc=reliable no_timer_check root=/dev/vda rw \
        hearth.hostname=web-1 dummy.numdummies=0 hearth.ip=10.77.0.5/16 hearth.gw=10.77.0.1 hearth.dns=10.77.0.1,9.9.9.9 debug \
        -chardev socket,id=control,fd=5,server=on,wait=off -mon chardev=control,mode=control \
        -chardev socket,id=events,fd=6,server=on,wait=off,logfile=events.log,logappend=on -mon chardev=events,mode=control \
        -chardev socket,id=console,fd=8,server=on,wait=off,logfile=console.log,logappend=on -serial chardev:console \
        -drive id=root,if=none,file=disk.qcow2,format=qcow2,discard=unmap -device virtio-blk-device,drive=root \
        -chardev socket,id=agent,fd=7,server=on,wait=off -device virtio-serial-device \
        -device virtserialport,chardev=agent,name=agent.0 -device virtio-rng-device \
        -device virtio-balloon-device,id=balloon,deflate-on-oom=on,free-page-reporting=on \
        -netdev tap,id=nic-0,ifname=hth0,script=no,downscript=no -device virtio-net-device,netdev=nic-0,mac=52:54:00:01:02:ff";
    assert_eq!(words.join(" "), golden);
}

#[test]
fn the_accelerated_machine_without_network() {
    let words =
        arguments(&plan(None), "o1", Acceleration::Kvm, Path::new("/images/k"), Path::new("/boot/i.cpio"), None).join(" ");
    assert!(words.contains("-accel kvm -cpu host"), "{words}");
    assert!(!words.contains("tsc") && !words.contains("netdev") && !words.contains("hearth.ip"), "{words}");
}

/// Behind the root's, whose name in the guest must stay: `root=/dev/vda`.
#[test]
fn a_seed_is_the_second_drive_and_read_only() {
    let plan = MachinePlan { cloud_init: Some(Box::default()), ..plan(Some(nic())) };
    let words = arguments(&plan, "o1", Acceleration::Kvm, Path::new("/images/k"), Path::new("/boot/i.cpio"), None).join(" ");
    let drives = "-drive id=root,if=none,file=disk.qcow2,format=qcow2,discard=unmap -device virtio-blk-device,drive=root \
        -drive id=seed,if=none,file=seed.iso,format=raw,readonly=on -device virtio-blk-device,drive=seed ";
    assert!(words.contains(drives), "{words}");
}

/// Behind the seed, in their order, by names that the guest finds.
#[test]
fn data_drives_follow_and_are_raw() {
    let drive =
        |name: &str, read_only| DriveChange { name: name.parse().unwrap(), size_mib: Some(5), read_only: Some(read_only) };
    let mut plan = MachinePlan { cloud_init: Some(Box::default()), ..plan(Some(nic())) };
    plan.disk.drives = Drives::new(&[drive("data", false), drive("ro-2", true)]);
    let words = arguments(&plan, "o1", Acceleration::Kvm, Path::new("/images/k"), Path::new("/boot/i.cpio"), None).join(" ");
    let drives = "-device virtio-blk-device,drive=seed \
        -drive id=drive-0,if=none,file=drive-0.raw,format=raw,discard=unmap -device virtio-blk-device,drive=drive-0,serial=data \
        -drive id=drive-1,if=none,file=drive-1.raw,format=raw,discard=unmap,readonly=on \
        -device virtio-blk-device,drive=drive-1,serial=ro-2 -chardev ";
    assert!(words.contains(drives), "{words}");
    let rate_limits = RateLimits { disk_ops_per_s: Some(5), ..RateLimits::default() };
    plan.tuning.rate_limits = rate_limits;
    let words = arguments(&plan, "o1", Acceleration::Kvm, Path::new("/images/k"), Path::new("/boot/i.cpio"), None).join(" ");
    assert_eq!(words.matches(",throttling.iops-total=5 ").count(), 3, "the root and both: {words}");
}

#[test]
fn a_user_and_a_root_of_its_own_change_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let vm = folder.path().join(VmId::from_bits(7).to_string());
    std::fs::create_dir(&vm).unwrap();
    let help = "-chroot dir\n-runas user\n";
    let users = super::super::own::Users::open(folder.path().into(), 1_900_085_000..=1_900_085_000, help).unwrap();
    let own = users.prepare(VmId::from_bits(7), &vm, domain::Attempt(1)).unwrap();
    let words = |own| arguments(&plan(None), "o1", Acceleration::Kvm, Path::new("/k"), Path::new("/i"), own).join(" ");
    let of_its_own = words(Some(&own));
    let (its, deny) = (" -chroot root-1 -runas 1900085000:1900085000", "elevateprivileges=deny");
    assert!(of_its_own.contains(its), "{of_its_own}");
    assert_eq!(of_its_own.replace(its, "").replace("elevateprivileges=allow", deny), words(None));
}

#[test]
fn interfaces_are_told_in_their_order_and_the_kernel_keeps_all_words() {
    let user = "c".repeat(domain::vm::spec::CMDLINE_MAX);
    let plan = MachinePlan { hostname: "h".repeat(63), nics: sample::nics(8), cmdline: Some(user), ..sample::plan() };
    let acceleration = Acceleration::Tcg { tsc_khz: Some(12_345_678) };
    let words = arguments(&plan, "me", acceleration, Path::new("k"), Path::new("i"), None);
    let told: Vec<&str> =
        words.iter().filter(|word| word.contains("tap,id=") || word.contains("virtio-net")).map(String::as_str).collect();
    let expected = [
        "tap,id=nic-0,ifname=hth0,script=no,downscript=no",
        "virtio-net-device,netdev=nic-0,mac=52:54:00:01:02:ff",
        "tap,id=nic-1,ifname=hth1,script=no,downscript=no",
        "virtio-net-device,netdev=nic-1,mac=52:54:00:01:03:01",
    ];
    assert_eq!((told.len(), &told[..4]), (16, &expected[..]));
    cmdline::check(&kernel_cmdline(&plan, acceleration), 0).unwrap();
}
