// Before the first paint, so that nobody sees the wrong colours flash.
(() => {
  let theme = null;
  try { theme = localStorage.getItem("moodstream.theme"); } catch { /* storage is off */ }
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
})();
