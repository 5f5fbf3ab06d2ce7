// Before the first paint, so that a dark console does not flash white. The key is the one of src/session.rs.
try {
  const theme = localStorage.getItem("hearth.theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // Storage is forbidden: the system's preference applies.
}
