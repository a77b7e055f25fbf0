// Starts the page. No module, so that it can say why where modules cannot be loaded: from a file, in an old browser, or
// where a part of the site is missing.

import("./app.js").catch((error) => {
  const why = location.protocol === "file:" ? "it was opened as a file" : (error?.message ?? String(error));
  const text = `This page must come from a server (python -m demo_web) to a current browser. Received: ${why}`;
  document.getElementById("notice-text").textContent = text;
  document.getElementById("notice").hidden = false;
  document.getElementById("busy").textContent = "";
  document.getElementById("backend-chip").textContent = "not started";
});
