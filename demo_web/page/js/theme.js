// Light or dark: as the system has it, until somebody chooses.

export function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  try {
    localStorage.setItem("theme", theme);
  } catch {
    // Storage is refused: the choice lasts as long as the page.
  }
}

export function initialTheme() {
  try {
    const kept = localStorage.getItem("theme");
    if (kept) return kept;
  } catch {
    // As above.
  }
  return matchMedia("(prefers-color-scheme: light)").matches ? "light" : "dark";
}
