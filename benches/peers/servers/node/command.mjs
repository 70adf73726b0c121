// The command dialect: what came is answered with the same requestID and command.
export function answer(text) {
  const { requestID, command } = JSON.parse(text);
  return JSON.stringify({
    requestID,
    command,
    someOtherThing: `Server processed command: ${command}`,
    success: true,
  });
}
