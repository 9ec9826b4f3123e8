// A status server on Node in the manner of the first document, written for this bench: `ws`, tokens by `jsonwebtoken`, Redis
// by `ioredis`. One process, rooms in memory, one pattern subscription; `status_update` is written once for each socket, for
// it carries the time of sending. It does what that system did, and nothing on purpose that makes it slower: no log lines, the
// secret prepared once, a listen backlog of 4096, status of a generation encoded once for all its watchers.
//
//   JWT_SECRET=… REDIS_PORT=… node node-server.js     prints its port
import { createSecretKey } from 'node:crypto'
import { createServer } from 'node:http'
import Redis from 'ioredis'
import jwt from 'jsonwebtoken'
import { WebSocketServer } from 'ws'

const PING_INTERVAL_MS = 30_000
const PONG_AGE_MAX_MS = 45_000
const AUTHENTICATION_MS = 10_000
const BACKLOG = 4096

const secret = createSecretKey(Buffer.from(process.env.JWT_SECRET))
const redis = { host: '127.0.0.1', port: Number(process.env.REDIS_PORT) }
const commands = new Redis(redis)
const subscriber = new Redis(redis)
const rooms = new Map() // generation id → sockets
const clients = new Map() // socket → what is known of it

function send(socket, message) {
  socket.send(JSON.stringify({ ...message, timestamp: Date.now() }))
}

async function subscribe(socket, client, generationId) {
  if (!client.userId) return send(socket, { type: 'error', error: 'Must authenticate before subscribing' })
  const owner = generationId && (await commands.get(`generation_owner:${generationId}`))
  if (!owner || owner !== client.userId) {
    return send(socket, { type: 'error', error: 'You do not have access to this generation' })
  }
  let room = rooms.get(generationId)
  if (!room) rooms.set(generationId, (room = new Set()))
  room.add(socket)
  client.rooms.add(generationId)
  const status = await commands.get(`generation_status:${generationId}`)
  if (status) send(socket, { type: 'status_update', data: JSON.parse(status), generationId })
  send(socket, { type: 'subscribed', generationId })
}

function leave(socket, client, generationId) {
  client.rooms.delete(generationId)
  const room = rooms.get(generationId)
  room?.delete(socket)
  if (room?.size === 0) rooms.delete(generationId)
}

function authenticate(socket, client, token) {
  try {
    client.userId = jwt.verify(token, secret, { algorithms: ['HS256', 'HS384', 'HS512'] }).userId
    clearTimeout(client.timer)
    send(socket, { type: 'authenticated' })
  } catch {
    send(socket, { type: 'error', error: 'Invalid or expired token' })
    socket.close(4003, 'Authentication failed')
  }
}

function hear(socket, client, bytes) {
  let message
  try {
    message = JSON.parse(bytes)
  } catch {
    return send(socket, { type: 'error', error: 'Invalid message format' })
  }
  switch (message?.type) {
    case 'authenticate':
      return authenticate(socket, client, message.token)
    case 'subscribe':
      return subscribe(socket, client, message.generationId).catch(() => socket.close(1011))
    case 'unsubscribe':
      leave(socket, client, message.generationId)
      return send(socket, { type: 'unsubscribed', generationId: message.generationId })
    case 'ping':
      return send(socket, { type: 'pong' })
  }
}

const http = createServer((request, response) => {
  const health = { status: 'healthy', connections: clients.size, subscriptions: rooms.size, uptime: process.uptime() }
  response.writeHead(request.url === '/health' ? 200 : 404, { 'Content-Type': 'application/json' })
  response.end(request.url === '/health' ? JSON.stringify(health) : '')
})
const sockets = new WebSocketServer({ server: http, maxPayload: 8192, perMessageDeflate: false })

sockets.on('connection', (socket) => {
  const client = { userId: undefined, rooms: new Set(), heardAt: Date.now(), timer: undefined }
  client.timer = setTimeout(() => {
    send(socket, { type: 'error', error: 'Authentication timeout. Send authenticate message within 10 seconds.' })
    socket.close(4001, 'Authentication timeout')
  }, AUTHENTICATION_MS)
  clients.set(socket, client)
  socket.on('message', (bytes) => hear(socket, client, bytes))
  socket.on('pong', () => (client.heardAt = Date.now()))
  socket.on('error', () => socket.terminate())
  socket.on('close', () => {
    clearTimeout(client.timer)
    for (const generationId of client.rooms) leave(socket, client, generationId)
    clients.delete(socket)
  })
})

await subscriber.psubscribe('generation:*')
subscriber.on('pmessage', (_pattern, channel, text) => {
  const generationId = channel.slice('generation:'.length)
  const room = rooms.get(generationId)
  if (!room) return
  const message = JSON.stringify({ type: 'status_update', data: JSON.parse(text), generationId, timestamp: Date.now() })
  for (const socket of room) socket.send(message)
})

setInterval(() => {
  for (const [socket, client] of clients) {
    if (Date.now() - client.heardAt > PONG_AGE_MAX_MS) socket.terminate()
    else socket.ping()
  }
}, PING_INTERVAL_MS)

http.listen({ port: 0, host: '127.0.0.1', backlog: BACKLOG }, () => console.log(http.address().port))
