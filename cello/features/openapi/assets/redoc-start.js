// Shows the document that this script's tag names. No inline script: the pages' Content-Security-Policy forbids them.
"use strict";

{
  const script = document.currentScript;
  const fontFamily = "system-ui, sans-serif";
  const options = {
    theme: {
      typography: { fontFamily, headings: { fontFamily }, code: { fontFamily: "ui-monospace, monospace" } },
    },
  };
  Redoc.init(script.dataset.document, options, document.getElementById("page"));
}
