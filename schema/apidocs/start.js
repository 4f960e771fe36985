// Starts the API reference with everything off that would call other hosts.
"use strict";
{
  const { dataset } = document.getElementById("reference");
  const at = (relative) => new URL(relative, document.baseURI).href;
  Scalar.createApiReference("#reference", {
    url: at(dataset.document),
    servers: [{ url: at(dataset.root).replace(/\/$/, "") }], // the policy allows no other
    agent: { disabled: true },
    customCss: ".section[tabindex='-1']:focus { outline: none }", // a link leads there, the keyboard does not
    mcp: { disabled: true },
    defaultHttpClient: { targetKey: "shell", clientKey: "curl" },
    hideClientButton: true,
    persistAuth: false, // credentials stay in memory
    showDeveloperTools: "never",
    telemetry: false,
    withDefaultFonts: false,
  });
}
