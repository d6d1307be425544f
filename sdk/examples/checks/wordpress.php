<?php
// As much of WordPress and WooCommerce as the plugin calls. Prints a product's page, and then a page of thanks twice.
define( 'ABSPATH', '/' );
$hooks = array();
$meta = array();

function add_action( $name, $callback, $priority = 10, $arguments = 1 ) {
	global $hooks;
	$hooks[ $name ][ $priority ][] = $callback;
}

function run( $name, ...$values ) {
	global $hooks;
	ksort( $hooks[ $name ] );
	foreach ( array_merge( ...$hooks[ $name ] ) as $callback ) {
		$callback( ...$values );
	}
}

function wp_print_script_tag( $attributes ) {
	echo '<script';
	foreach ( $attributes as $name => $value ) {
		echo true === $value ? " $name" : " $name=\"" . htmlspecialchars( $value ) . '"';
	}
	echo '></script>';
}

function wp_print_inline_script_tag( $script ) { echo "<script>$script</script>"; }
function wp_json_encode( $value, $flags ) { return json_encode( $value, $flags ); }
function wp_doing_ajax() { return false; }
function get_woocommerce_currency() { return 'EUR'; }
function is_checkout() { return false; }
function is_order_received_page() { return false; }
function wc_get_product() { return new WC_Product(); }
function wc_get_price_to_display() { return 289.5; }
function wc_get_order() { return new WC_Order(); }
function WC() { static $shop; return $shop ??= (object) array( 'session' => new WC_Session(), 'cart' => null ); }

class WC_Product {
	public function get_id() { return 81; }
	public function get_name() { return 'Tent </script><b> & "2"'; }
}

class WC_Session {
	private $values = array();
	public function get( $name, $usual = null ) { return $this->values[ $name ] ?? $usual; }
	public function set( $name, $value ) { $this->values[ $name ] = $value; }
}

class WC_Order {
	public function has_status() { return false; }
	public function get_meta( $name ) { global $meta; return $meta[ $name ] ?? ''; }
	public function update_meta_data( $name, $value ) { global $meta; $meta[ $name ] = $value; }
	public function save() {}
	public function get_order_number() { return '1001'; }
	public function get_total() { return '289.50'; }
	public function get_currency() { return 'EUR'; }
}

require $argv[1];
$product = new WC_Product();
run( 'wp_head' );
run( 'woocommerce_after_single_product' );
run( 'woocommerce_add_to_cart', 'key', 81, 2 );
run( 'wp_footer' );
run( 'woocommerce_thankyou', 5 );
run( 'woocommerce_thankyou', 5 );
