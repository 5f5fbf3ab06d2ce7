#!/usr/bin/env python3
"""Loses power on purpose, and checks that the store kept every write that it had acknowledged.

    make powerloss
    sudo tests/powerloss/powerloss.py ENGINE ROUNDS [SEED [LEAST]]     (docs/RELIABILITY.md says how to prepare)

A guest runs storage's example powerloss_probe on a disk whose every write and flush QEMU logs (blklogwrites). At a random moment QEMU is killed. That
moment, and some at which acknowledgements had just been heard, are the cuts. For each cut, disks are made that a loss of power may leave behind:
  keep  all that was written (the guest crashed, the disk did not)
  drop  what was written before the last flush, and nothing else
  rand  that, and each later write with probability 1/2
  torn  that, and each 4 KiB of the later writes with probability 1/2
Each is mounted, so that the file system recovers, and the probe checks it. The next round goes on from one of them, chosen at random, so that
recoveries follow each other; after a failure it begins anew. Ends with 0 when no image failed and LEAST were checked, else with 1.

Owns a folder below TMPDIR that it removes, one QEMU at a time and one loop mount. No network.
"""
import os, random, selectors, shutil, struct, subprocess, sys, tempfile, time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
KERNEL = Path(os.environ.get("POWERLOSS_KERNEL", ROOT / "build/images/debian-kernel"))
PROBE = Path(os.environ.get("POWERLOSS_PROBE", ROOT / "target/x86_64-unknown-linux-musl/debug/examples/powerloss_probe"))
BUSYBOX = Path(os.environ.get("POWERLOSS_BUSYBOX", "/usr/bin/busybox"))
KINDS = ("keep", "drop", "rand", "torn")
DISK_MIB = 256
LOG_MIB = 4096  # Sparse; a round wrote up to a tenth of it.
CUTS = 3  # In a round, beside its end: more would test the same guest again and again.
TORN_BYTES = 4096
BOOT_DEADLINE_S = 120  # Emulated, on a busy machine; 5 to 15 s were seen.
RUN_S = (0.2, 8.0)  # From the start of the probe to the cut: the short ones hit opening and recovery.
VERIFY_DEADLINE_S = 120
VERSION_GAP = 100_000  # Above what a round can write without being heard.
FLUSH, FUA, DISCARD = 1, 2, 4  # Flags of an entry: Linux, Documentation/admin-guide/device-mapper/log-writes.rst
INIT = """#!/bin/busybox sh
B=/bin/busybox
$B mount -t proc p /proc; $B mount -t devtmpfs d /dev
for m in $($B cat /modules/order); do case $m in virtio.ko|virtio_ring.ko|virtio_mmio.ko|virtio_blk.ko) $B insmod /modules/$m;; esac; done
n=0; while [ ! -b /dev/vda ] && [ $n -lt 300 ]; do $B usleep 100000; n=$((n+1)); done
$B mount -t ext4 /dev/vda /disk || { echo MOUNT FAILED; exit 1; }
for w in $($B cat /proc/cmdline); do case $w in probe.engine=*) E=${w#*=};; probe.base=*) V=${w#*=};; esac; done
$B stty -onlcr -F /dev/ttyS0
echo START
exec /probe $E /disk/db writer $V
"""


def run(*command, **more):
    return subprocess.run([str(word) for word in command], check=True, **more)


def make_initrd(work):
    tree = work / "initrd"
    for folder in ("bin", "proc", "dev", "disk"):
        (tree / folder).mkdir(parents=True)
    shutil.copy(BUSYBOX, tree / "bin/busybox")
    shutil.copy(PROBE, tree / "probe")
    (tree / "init").write_text(INIT)
    (tree / "init").chmod(0o755)
    names = "\n".join(str(path.relative_to(tree)) for path in sorted(tree.rglob("*"))).encode()
    ours = run("cpio", "--quiet", "-o", "-H", "newc", cwd=tree, input=names, capture_output=True).stdout
    (work / "initrd.cpio").write_bytes((KERNEL / "modules.cpio").read_bytes() + ours)


def new_disk(work):
    run("truncate", "-s", f"{DISK_MIB}M", work / "disk.img")
    run("mkfs.ext4", "-q", "-F", work / "disk.img")


def run_guest(work, engine, base, rng):
    """Boots, lets the probe write, cuts. Returns what it said, and moments: (log entries, bytes heard until then).

    QEMU's files are not synced on this machine (no-flush): it does not lose power, and the log knows what the guest asked for.
    """
    log = work / "log"
    log.unlink(missing_ok=True)
    run("truncate", "-s", f"{LOG_MIB}M", log)
    mhz = next(line.split(":")[1] for line in open("/proc/cpuinfo") if line.startswith("cpu MHz"))
    # Without its frequency an emulated guest on a busy machine may not find a clock.
    kernel_line = f"console=ttyS0 quiet panic=-1 tsc=reliable no_timer_check tsc_early_khz={int(float(mhz) * 1000)} probe.engine={engine} probe.base={base}"
    guest = subprocess.Popen(
        ["qemu-system-x86_64", "-M", "microvm,x-option-roms=off,isa-serial=on,rtc=on", "-accel", "tcg", "-cpu", "max", "-smp", "2", "-m", "512",
         "-kernel", KERNEL / "vmlinux", "-initrd", work / "initrd.cpio", "-append", kernel_line,
         "-nodefaults", "-no-user-config", "-nographic", "-no-reboot", "-serial", "stdio",
         "-blockdev", f"driver=file,node-name=disk,filename={work}/disk.img,cache.no-flush=on",
         "-blockdev", f"driver=file,node-name=log,filename={log},cache.no-flush=on",
         "-blockdev", "driver=blklogwrites,node-name=logged,file=disk,log=log", "-device", "virtio-blk-device,drive=logged,write-cache=on"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    said, cut, moments, written, deadline = b"", None, [], Log(log), time.monotonic() + BOOT_DEADLINE_S
    try:
        with selectors.DefaultSelector() as ready:
            ready.register(guest.stdout, selectors.EVENT_READ)
            while (left := (cut or deadline) - time.monotonic()) > 0:
                if ready.select(left):
                    piece = os.read(guest.stdout.fileno(), 65536)
                    if not piece:
                        sys.exit(f"the guest ended by itself:\n{said[-2000:].decode(errors='replace')}")
                    said += piece.replace(b"\r", b"")
                    # What was heard was durable in the log as it is now, or earlier. A hole hides what came after it: no moment then.
                    if written.read() and cut:
                        moments.append((len(written.entries), len(said)))
                if cut is None and b"START\n" in said:
                    cut = time.monotonic() + rng.uniform(*RUN_S)
    finally:
        guest.kill()
        said += guest.stdout.read().replace(b"\r", b"")
        guest.wait()
    if cut is None:
        sys.exit(f"the guest did not start in {BOOT_DEADLINE_S} s:\n{said[-2000:].decode(errors='replace')}")
    whole = written.read()
    return said, moments, written.entries, whole


def acknowledgements(said):
    for line in said.split(b"\n")[:-1]:  # The last has no end: it may be half a number.
        words = line.split()
        if len(words) == 3 and all(word.isdigit() for word in words):
            yield tuple(int(word) for word in words)
        elif b"powerloss_probe:" in line:
            sys.exit(f"the probe refused to write: {line.decode(errors='replace')}")


class Log:
    """The log as far as it is written: `entries` of (first byte, bytes, flags, where the data lies)."""

    def __init__(self, path):
        self.file, self.at, self.entries = open(path, "rb"), 0, []

    def read(self):
        """Reads what is new. False when something lies behind the end: writes are logged side by side, and one was still under way."""
        descriptor = self.file.fileno()
        if self.at == 0:
            magic, version, _, self.sector = struct.unpack("<QQQI", os.pread(descriptor, 28, 0))
            if (magic, version) != (0x6A736677736872, 1):
                return False
            self.at = self.sector
        while True:
            first, count, flags, _ = struct.unpack("<QQQQ", os.pread(descriptor, 32, self.at))
            if not (first or count or flags):
                return self.ends_here()
            length = count * self.sector
            self.entries.append((first * self.sector, length, flags, self.at + self.sector))
            self.at += self.sector + (0 if flags & DISCARD else length)

    def ends_here(self):
        at = self.at
        while True:
            try:
                at = os.lseek(self.file.fileno(), at, os.SEEK_DATA)
            except OSError:
                return True
            piece = os.pread(self.file.fileno(), 1 << 20, at)
            if any(piece):
                return False
            at += max(len(piece), 1)


def replay(log, image, entries, keeps):
    """Writes what `keeps(entry)` yields: pairs of offset and length inside the entry."""
    with open(log, "rb") as source, open(image, "r+b") as target:
        for first, length, flags, where in entries:
            for offset, size in keeps(length, flags):
                source.seek(where + offset)
                data = bytes(size) if flags & DISCARD else source.read(size)
                target.seek(first + offset)
                target.write(data)


def all_of(length, flags):
    return [(0, length)] if length else []


def half_of(rng, size):
    def keeps(length, flags):
        if flags & FUA:  # Was answered only when it was on the disk.
            return all_of(length, flags)
        step = size or max(length, 1)
        return [(at, min(step, length - at)) for at in range(0, length, step) if rng.random() < 0.5]
    return keeps


def copy(source, target):
    run("cp", "--sparse=always", "--reflink=auto", source, target)


def make_images(work, entries, rng):
    """From the state before the round (base.img) and its log up to a cut. Returns how many writes came after the last flush."""
    last = last_flush(entries)
    log, later = work / "log", entries[last:]
    copy(work / "base.img", work / "drop.img")
    replay(log, work / "drop.img", entries[:last], all_of)
    for kind, keeps in (("keep", all_of), ("rand", half_of(rng, 0)), ("torn", half_of(rng, TORN_BYTES))):
        copy(work / "drop.img", work / f"{kind}.img")
        replay(log, work / f"{kind}.img", later, keeps)
    replay(log, work / "drop.img", later, lambda length, flags: all_of(length, flags) if flags & FUA else [])
    return sum(1 for entry in later if entry[1])


def last_flush(entries):
    """A flush covers what was logged before it; its own data, if any, is only ordered, so it counts as later."""
    return next((number for number in range(len(entries) - 1, -1, -1) if entries[number][2] & FLUSH), 0)


def choose_cuts(rng, moments, entries):
    """Of the moments, first those in the middle of a write: the others leave nothing to lose."""
    rng.shuffle(moments)
    busy = [moment for moment in moments if any(entry[1] for entry in entries[last_flush(entries[:moment[0]]):moment[0]])]
    idle = set(moments).difference(busy)
    return (busy + [moment for moment in moments if moment in idle])[:CUTS]


def verify(work, engine, kind, acked):
    """Checks a copy of the store, so that the image stays what the loss of power left."""
    mount, store = work / "mount", work / "store"
    mount.mkdir(exist_ok=True)
    shutil.rmtree(store, ignore_errors=True)
    image = work / "mounted.img"
    copy(work / f"{kind}.img", image)
    run("mount", "-o", "loop", image, mount)
    try:
        if (mount / "db").exists():
            shutil.copytree(mount / "db", store)
    finally:
        run("umount", mount)
    lines = "".join(f"{thread} {key} {version}\n" for (thread, key), version in acked.items())
    probe = subprocess.run([PROBE, engine, store, "verify"], input=lines.encode(), capture_output=True, timeout=VERIFY_DEADLINE_S)
    broken = probe.stderr.decode(errors="replace")
    count = {word: sum(line.startswith(word) for line in broken.splitlines()) for word in ("MISSING", "STALE", "CORRUPT")}
    print(f"  {kind}: exit {probe.returncode}, {probe.stdout.decode().strip() or 'not opened'}; {count}", flush=True)
    if probe.returncode != 0:
        print("".join(f"    {line[:300]}\n" for line in broken.splitlines()[:4] + broken.splitlines()[-1:]), end="", flush=True)
    return probe.returncode == 0


def heard_until(acked, said):
    acked, count = dict(acked), 0
    for thread, key, version in acknowledgements(said):
        acked[thread, key] = max(version, acked.get((thread, key), 0))
        count += 1
    return acked, count


def main(engine, rounds, seed, least, work):
    rng = random.Random(seed)
    make_initrd(work)
    new_disk(work)
    acked, base, heard, results = {}, VERSION_GAP, 0, {kind: [0, 0] for kind in KINDS}
    for number in range(rounds):
        copy(work / "disk.img", work / "base.img")
        said, moments, entries, whole = run_guest(work, engine, base, rng)
        cuts = choose_cuts(rng, moments, entries) + ([(len(entries), len(said))] if whole else [])
        now, count = heard_until(acked, said)
        heard, base = heard + count, max([base, *now.values()]) + VERSION_GAP
        flushes = sum(1 for entry in entries if entry[2] & FLUSH)
        print(f"round {number}: {count} acknowledged, {len(entries)} log entries, {flushes} flushes{'' if whole else ', the end of the log is torn'}", flush=True)
        good, failed = [], False
        for length, bytes_heard in cuts:
            later = make_images(work, entries[:length], rng)
            then, count = heard_until(acked, said[:bytes_heard])
            print(f" cut at entry {length}: {count} acknowledged, {later} writes after the last flush", flush=True)
            for kind in KINDS:
                kept = verify(work, engine, kind, then)
                results[kind][0] += not kept
                results[kind][1] += 1
                failed = failed or not kept
            kind = rng.choice(KINDS)
            copy(work / f"{kind}.img", work / f"next{len(good)}.img")
            good.append(then)
        if failed:
            acked = {}
            new_disk(work)
        elif good:
            chosen = rng.randrange(len(good))
            (work / f"next{chosen}.img").replace(work / "disk.img")
            acked = good[chosen]
        else:
            copy(work / "base.img", work / "disk.img")
    failed = ", ".join(f"{kind} {bad}/{total}" for kind, (bad, total) in results.items())
    print(f"{engine}, seed {seed}: {heard} batches acknowledged in {rounds} rounds; failed images: {failed}", flush=True)
    images = sum(total for _, total in results.values())
    if images < least:
        print(f"only {images} images were checked, {least} are wanted: run more rounds", flush=True)
    return 1 if any(bad for bad, _ in results.values()) or images < least else 0


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4, 5):
        sys.exit(__doc__)
    with tempfile.TemporaryDirectory(prefix="powerloss-") as folder:
        seed, least = (int(word) for word in (sys.argv[3:] + ["1", "0"][len(sys.argv[3:]):]))
        sys.exit(main(sys.argv[1], int(sys.argv[2]), seed, least, Path(folder)))
