// Sends one message with nodemailer; argv[2] is JSON: its transport's options
// and the message.
'use strict';
const nodemailer = require('nodemailer');
const { transport, message } = JSON.parse(process.argv[2]);
nodemailer.createTransport(transport).sendMail(message, (error, info) => {
  if (error) {
    console.log(JSON.stringify({ error: error.message, code: error.code }));
    process.exit(1);
  }
  console.log(JSON.stringify({ response: info.response }));
});
