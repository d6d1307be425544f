<?php
/**
 * Plugin Name: Customer Journey
 * Description: Tells a Customer Journey service what people do in this shop.
 * Requires at least: 6.0
 * Requires PHP: 7.4
 *
 * Put this file into wp-content/plugins, or what follows into the functions.php of a child theme.
 */

defined( 'ABSPATH' ) || exit;

// doc: woocommerce
/** The stub and the script tag, on every page of the shop. WordPress escapes the attributes. */
add_action( 'wp_head', function () {
	wp_print_inline_script_tag( 'window.customerJourney ||= new Proxy({ calls: [] }, { get: (stub, name) => name === "calls" ? stub.calls : (...values) => { stub.calls.push([name, values]); } });' );
	wp_print_script_tag( array(
		'src'          => 'https://journey.example.com/sdk/customer-journey.min.js',
		'data-api-key' => 'pk_…',
		'async'        => true,
	) );
}, 1 );

/** Prints one call. Names of products may hold anything: hex escapes keep them from ending the script. */
function customer_journey_call( string $method, array $fields ): void {
	wp_print_inline_script_tag( sprintf(
		'customerJourney.%s(%s)',
		$method,
		wp_json_encode( $fields, JSON_HEX_TAG | JSON_HEX_AMP | JSON_HEX_APOS | JSON_HEX_QUOT )
	) );
}

function customer_journey_product( WC_Product $product ): array {
	return array(
		'product_id'    => (string) $product->get_id(),
		'product_name'  => $product->get_name(),
		'product_price' => (string) wc_get_price_to_display( $product ),
		'currency'      => get_woocommerce_currency(),
	);
}

add_action( 'woocommerce_after_single_product', function () {
	global $product;
	customer_journey_call( 'trackProductView', customer_journey_product( $product ) );
} );

/** Both kinds of checkout, the blocks and the older form. */
add_action( 'wp_footer', function () {
	if ( is_checkout() && ! is_order_received_page() && WC()->cart ) {
		customer_journey_call( 'trackCheckoutStart', array(
			'cart_total' => (string) WC()->cart->get_total( 'edit' ),
			'currency'   => get_woocommerce_currency(),
		) );
	}
} );

/** The page of thanks can be loaded again, also from another device: the order notes that it was told. */
add_action( 'woocommerce_thankyou', function ( $order_id ) {
	$order = wc_get_order( $order_id );
	if ( ! $order || $order->has_status( 'failed' ) || $order->get_meta( '_customer_journey_told' ) ) {
		return;
	}
	$order->update_meta_data( '_customer_journey_told', gmdate( 'c' ) );
	$order->save();
	customer_journey_call( 'trackPurchase', array(
		'order_id'    => $order->get_order_number(),
		'order_total' => (string) $order->get_total(),
		'currency'    => $order->get_currency(),
	) );
} );
// doc end

// doc: woocommerce-cart
/** A product put into the cart by a form: the next page says so. */
add_action( 'woocommerce_add_to_cart', function ( $cart_item_key, $product_id, $quantity ) {
	if ( ! wp_doing_ajax() && WC()->session ) {
		WC()->session->set( 'customer_journey_added', array( $product_id, $quantity ) );
	}
}, 10, 3 );

add_action( 'wp_footer', function () {
	list( $product_id, $quantity ) = WC()->session ? WC()->session->get( 'customer_journey_added', array( 0, 0 ) ) : array( 0, 0 );
	$product = $product_id ? wc_get_product( $product_id ) : null;
	if ( ! $product ) {
		return;
	}
	WC()->session->set( 'customer_journey_added', null );
	customer_journey_call( 'trackAddToCart', customer_journey_product( $product ) + array( 'quantity' => (int) $quantity ) );
} );

/** A product put into the cart without a new page: WooCommerce's own script tells the document. After jQuery, so late. */
add_action( 'wp_footer', function () {
	wp_print_inline_script_tag( <<<'JS'
		window.jQuery?.(document.body).on("added_to_cart", (event, fragments, hash, button) => {
			const data = button?.[0]?.dataset;
			if (data?.product_id) {
				customerJourney.trackAddToCart({ product_id: data.product_id, quantity: Number(data.quantity || 1) });
			}
		});
		JS );
}, 100 );
// doc end
