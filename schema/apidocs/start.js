// Starts the API reference with everything off that would call other hosts.
"use strict";
{
  const { dataset } = document.getElementById("reference");
  const at = (relative) => new URL(relative, document.baseURI).href;
  Scalar.createApiReference("#reference", {
    url: at(dataset.document),
    servers: [{ url: at(dataset.root).replace(/\/$/, "") }], // the policy allows no other
    agent: { disabled: true },
    // A link leads to a section, the keyboard does not. Long titles must not widen the page.
    customCss: ".section[tabindex='-1']:focus { outline: none } #reference { overflow-x: clip }",
    mcp: { disabled: true },
    defaultHttpClient: { targetKey: "shell", clientKey: "curl" },
    hideClientButton: true,
    persistAuth: false, // credentials stay in memory
    showDeveloperTools: "never",
    telemetry: false,
    withDefaultFonts: false,
  });
}
