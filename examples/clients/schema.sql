-- What the programs beside this file work with: accounts, a ledger that is written once for each event, and a subscription for it.
CREATE EXTENSION eventstore;

CREATE TABLE ledger (position bigint PRIMARY KEY, account text NOT NULL, amount bigint NOT NULL);
SELECT es_create_subscription('ledger', category => 'account', lease => '3 s');

SELECT es_append('account-1', es_no_stream(), 'Deposited', '{"amount": 100}');
