/**
 * A server that takes connections and then does as it pleases, as its argument says; a process of
 * its own, so that memory can be told apart. Prints its port.
 */
import { createServer, type Socket } from "node:net";

function talk(socket: Socket, first: string): void {
  const more = () => {
    while (!socket.destroyed && socket.write(Buffer.alloc(65_536, "x")));
  };
  socket.on("drain", more);
  socket.write(first, more);
}

const MANNERS: Readonly<Record<string, (socket: Socket) => void>> = {
  "reads nothing": (socket) => socket.pause(),
  "hangs up": (socket) => socket.destroy(),
  "talks without end": (socket) => talk(socket, "x"),
  "talks NATS without end": (socket) => talk(socket, 'INFO {"server_id":"'),
  "talks HTTP without end": (socket) => talk(socket, "HTTP/1.1 200 OK\r\nX-More: "),
};

export const HOSTILE = Object.keys(MANNERS);

if (import.meta.main) {
  const meet = MANNERS[process.argv[2] ?? ""];
  const server = createServer((socket) => {
    socket.on("error", () => {});
    meet?.(socket);
  });
  server.listen(0, "127.0.0.1", () => {
    const address = server.address();
    if (typeof address === "object" && address !== null) console.log(address.port);
  });
}
