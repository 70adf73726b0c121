// A run that is stopped half-way ends what it has started: `exit` is what that hangs on
// (examples/pull-the-plug/server/program.js), and neither a signal nor the loss of the process that
// vitest gave this one brings it about by itself.
for (const reason of ["SIGINT", "SIGTERM", "SIGHUP", "disconnect"] as const) {
  process.on(reason, () => process.exit(1));
}
