// For people who use k6. The module k6/websockets is there since 2026; in an older k6 write k6/experimental/websockets, with
// which this has run on 1.1.0. Every virtual user submits a generation, watches it over the
// live socket, and checks that events come once, in order, without a hole; submit → first status is timed.
//
//   rushes demo                                                    in one terminal
//   k6 run --vus 50 --duration 30s bench/k6/status.js              in another
//   k6 run -e RUSHES=https://video.example -e TOKEN=… …            against a server with tokens
//
// The figures of docs/performance.md are not made with it: k6 reads every message, and its own time would be measured.
import { WebSocket } from 'k6/websockets'
import { check } from 'k6'
import { Counter, Trend } from 'k6/metrics'

const server = __ENV.RUSHES || 'http://127.0.0.1:8080'
const token = __ENV.TOKEN || ''

const firstStatus = new Trend('submit_to_first_status', true)
const events = new Counter('events')
const broken = new Counter('events_lost_doubled_or_late')
const ended = new Counter('generations_ended')

export const options = {
  thresholds: {
    events_lost_doubled_or_late: ['count==0'],
    submit_to_first_status: ['p(99)<1000'],
  },
}

export default function () {
  const socket = new WebSocket(`${server.replace(/^http/, 'ws')}/v1/live${token && `?token=${token}`}`)
  const say = (message) => socket.send(JSON.stringify(message))
  let submittedAt
  let id
  let last = 0

  socket.addEventListener('open', () => {
    submittedAt = Date.now()
    // The request id makes a repeat harmless: the same id is answered by the same generation.
    say({ type: 'generate', requestId: `k6-${__VU}-${__ITER}-${submittedAt}`, prompt: 'a lake at dawn', params: { seconds: 1 } })
  })

  socket.addEventListener('message', ({ data }) => {
    const message = JSON.parse(data)
    switch (message.type) {
      case 'accepted':
        id = message.generation.generationId
        return say({ type: 'subscribe', generationId: id, after: 'start' })
      case 'status_update':
        if (message.data.ephemeral) return // a hint: a queue position, an estimate
        if (last === 0) firstStatus.add(Date.now() - submittedAt)
        events.add(1)
        if (message.data.sequence !== last + 1) broken.add(1)
        last = message.data.sequence
        return
      case 'done':
        ended.add(1)
        return socket.close()
      case 'error':
        check(message, { 'nothing was refused': () => false })
        return socket.close()
    }
  })

  socket.addEventListener('error', ({ error }) => check(error, { 'the server is reached': () => false }))

  // A film may take longer than anybody wants to load-test. A timer that is left would keep the iteration from ending.
  const patience = setTimeout(() => socket.close(), 60000)
  socket.addEventListener('close', () => clearTimeout(patience))
}
