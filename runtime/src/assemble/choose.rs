//! `--vmm auto`: which driver, and the sentence why. Pure; what it is told was tried or found by others.

use domain::vm::Driver;

/// What is known of Firecracker here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Firecracker {
    /// A guest boots with it; the sentence says so.
    Boots(String),
    /// It can't be used, or a guest does not boot with it; the sentence says why.
    Not(String),
}

/// What is known of QEMU here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Qemu {
    /// With the acceleration that it chose, and why.
    There { because: String },
    /// It can't be used; why.
    Not(String),
}

/// The driver and why this one; or, when there is none, why not. Firecracker wherever a guest boots with it; then QEMU is not asked for.
pub fn choose(firecracker: &Firecracker, qemu: Option<&Qemu>) -> Result<(Driver, String), String> {
    match (firecracker, qemu) {
        (Firecracker::Boots(because), _) => Ok((Driver::Firecracker, because.clone())),
        (Firecracker::Not(why), Some(Qemu::There { because })) => {
            Ok((Driver::Qemu, format!("{because}; not firecracker, because {why}")))
        }
        (Firecracker::Not(why), Some(Qemu::Not(neither))) => {
            Err(format!("neither firecracker ({why}) nor qemu ({neither}) can run VMs"))
        }
        (Firecracker::Not(why), None) => Err(format!("firecracker can't run VMs ({why})")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pair() {
        let boots = || Firecracker::Boots("a guest boots with firecracker on kvm, in 210 ms".into());
        let hangs = || Firecracker::Not("a guest did not boot with firecracker within 5 s".into());
        let absent = || Firecracker::Not("it is not installed".into());
        let kvm = || Some(Qemu::There { because: "a guest boots on kvm".into() });
        let tcg = || Some(Qemu::There { because: "/dev/kvm can't be opened: no such file".into() });
        let no_qemu = || Some(Qemu::Not("it is not installed".into()));
        type Row<'a> = (Firecracker, Option<Qemu>, Result<Driver, ()>, &'a [&'a str]);
        let rows: [Row<'_>; 9] = [
            (boots(), None, Ok(Driver::Firecracker), &["210 ms"]),
            (boots(), kvm(), Ok(Driver::Firecracker), &["210 ms"]),
            (boots(), no_qemu(), Ok(Driver::Firecracker), &["210 ms"]),
            (hangs(), kvm(), Ok(Driver::Qemu), &["boots on kvm", "not firecracker", "within 5 s"]),
            (hangs(), tcg(), Ok(Driver::Qemu), &["/dev/kvm", "not firecracker", "within 5 s"]),
            (absent(), kvm(), Ok(Driver::Qemu), &["boots on kvm", "not firecracker", "not installed"]),
            (absent(), tcg(), Ok(Driver::Qemu), &["/dev/kvm", "not firecracker", "not installed"]),
            (hangs(), no_qemu(), Err(()), &["within 5 s", "qemu (it is not installed)"]),
            (absent(), None, Err(()), &["firecracker can't run VMs", "not installed"]),
        ];
        for (firecracker, qemu, driver, words) in rows {
            let chosen = choose(&firecracker, qemu.as_ref());
            assert_eq!(chosen.as_ref().map(|(driver, _)| *driver).map_err(|_| ()), driver, "{firecracker:?} {qemu:?}");
            let because = chosen.map_or_else(|why| why, |(_, because)| because);
            for word in words {
                assert!(because.contains(word), "{word:?} is not in {because:?}");
            }
        }
    }
}
