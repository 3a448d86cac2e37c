// Runs before the first paint, so that a chosen theme does not flash. Everything else waits for the modules.
try {
  const theme = localStorage.getItem("theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // Storage is refused: the system's theme holds.
}
