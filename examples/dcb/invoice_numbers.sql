-- Invoice numbers that rise by one and have no gap, though invoices are rolled back, and many are made at once. After "Invoice number" at
-- dcb.events. The condition is the type alone: another invoice since the last one that was read.

CREATE EXTENSION eventstore;
\set SHOW_CONTEXT never

CREATE FUNCTION make_invoice(customer text, amount numeric) RETURNS bigint LANGUAGE plpgsql AS
$$
DECLARE
	invoices CONSTANT jsonb := '[{"types": ["InvoiceCreated"]}]';
	read_to  bigint := es_head();
	number   bigint;
BEGIN
	-- The last one is all that has to be read, however many there are.
	SELECT coalesce(max((data ->> 'number')::bigint), 0) + 1 INTO number FROM es_read_query(invoices, 0, 1, backward => true);
	PERFORM es_append_if('invoice-' || number, jsonb_build_object('type', 'InvoiceCreated',
						 'data', jsonb_build_object('number', number, 'customer', customer, 'amount', amount)), invoices, read_to);
	RETURN number;
END
$$;

SELECT make_invoice('ada', 10);
SELECT make_invoice('bob', 20);
BEGIN;
SELECT make_invoice('cleo', 30);
ROLLBACK;
SELECT make_invoice('dan', 40);

-- Whoever meets a conflict takes the next number.
CREATE PROCEDURE invoice_all(customers text[]) LANGUAGE plpgsql AS
$$
DECLARE
	customer text;
BEGIN
	FOREACH customer IN ARRAY customers LOOP
		LOOP
			BEGIN
				PERFORM make_invoice(customer, 1);
				EXIT;
			EXCEPTION
				WHEN SQLSTATE 'SE004' THEN
					NULL; -- read again, decide anew
			END;
		END LOOP;
		COMMIT;
	END LOOP;
END
$$;
CALL invoice_all('{eve,fay,gus}');
SELECT data ->> 'number' AS number, data ->> 'customer' AS customer FROM es_read_query('[{"types": ["InvoiceCreated"]}]');
