// What an application does with node-postgres: a pool, parameters, named statements, transactions, errors.
// usage: node drive.js PORT [named]
'use strict';
const { Pool } = require('pg');
const assert = require('assert');

const named = process.argv[3] === 'named';
const pool = new Pool({ host: '127.0.0.1', port: Number(process.argv[2]), user: 'app', password: 'pool-secret', database: 'db1', max: 6 });

async function one(n) {
  const text = 'SELECT $1::int + 1 AS sum, $2::text AS text';
  const answer = await pool.query(named ? { name: 'add', text, values: [n, 'x'] } : { text, values: [n, 'x'] });
  assert.deepStrictEqual(answer.rows, [{ sum: n + 1, text: 'x' }]);
}

async function transaction(n) {
  const client = await pool.connect();
  try {
    await client.query('BEGIN');
    const query = { text: 'SELECT pg_backend_pid() AS pid', ...(named ? { name: 'pid' } : {}) };
    const first = (await client.query(query)).rows[0].pid;
    assert.strictEqual((await client.query(query)).rows[0].pid, first);
    await assert.rejects(client.query('SELECT 1 / $1::int', [0]), { code: '22012' });
    await client.query('ROLLBACK');
  } finally {
    client.release();
  }
}

(async () => {
  for (let turn = 0; turn < 20; turn++) {
    await Promise.all(Array.from({ length: 12 }, (_, i) => (i % 4 === 3 ? transaction(i) : one(turn * 100 + i))));
  }
  await pool.end();
  console.log('done');
})().catch((error) => { console.error(error); process.exit(1); });
