// Shows the document that this script's tag names. No inline script: the pages' Content-Security-Policy forbids them.
"use strict";

SwaggerUIBundle({
  url: document.currentScript.dataset.document,
  dom_id: "#page",
  deepLinking: true,
  displayRequestDuration: true,
  layout: "BaseLayout",
  presets: [SwaggerUIBundle.presets.apis],
  validatorUrl: null, // it would send the document to another host
});
