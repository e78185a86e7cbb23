// Before anything is drawn: the theme that was chosen here, so that a dark page never flashes.

try {
  const theme = JSON.parse(localStorage.getItem("qwire-theme"));
  if (theme) document.documentElement.dataset.theme = theme;
} catch {
  // Storage is off: the system's theme it is.
}
