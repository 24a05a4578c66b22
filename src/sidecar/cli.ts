#!/usr/bin/env node
import Fastify from 'fastify'
import flags from '../plugin.js'

const app = Fastify({ logger: true })
await app.register(flags)
await app.listen({ port: Number(process.env.PORT ?? 8080) })
