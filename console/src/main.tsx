import { render } from "preact";
import { App } from "./app.tsx";
import { listenForShortcuts } from "./shortcuts.ts";
import { startStats } from "./stats/live.ts";
import { applyTheme } from "./theme.ts";
import "./style/base.css";
import "./style/page.css";
import "./style/overview.css";
import "./style/lists.css";
import "./style/forms.css";
import "./style/narrow.css";

applyTheme();
listenForShortcuts();
startStats();

const page = document.getElementById("page");
if (page !== null) render(<App />, page);
